package policy_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// quick sends queries where the round trip is shortest, and has no preference otherwise.
type quick struct{ atMost time.Duration }

// newQuick is what a plugin exports as New.
func newQuick(c policy.Config) (policy.Policy, error) {
	settings := struct {
		AtMost time.Duration `mam:"at_most" min:"0s"`
	}{time.Second}
	if err := c.Decode(&settings); err != nil {
		return nil, err
	}
	return quick{settings.AtMost}, nil
}

func (q quick) Choose(r *policy.Request) policy.Decision {
	if c, ok := r.Intents.Category(); !ok || c != intent.CategoryQuery {
		return policy.Decision{Reason: "no query"}
	}
	best := policy.Decision{Reason: "nothing is quick enough"}
	for _, p := range r.Prefixes {
		rtt := p.Stats.SRTTMedian // zero: unknown
		if rtt > 0 && rtt <= q.atMost && (best.Prefix == nil || rtt < best.Prefix.Stats.SRTTMedian) {
			best = policy.Decision{Prefix: p, Reason: fmt.Sprintf("quickest: %v", rtt)}
		}
	}
	return best
}

// A policy is a method that compares prefixes, and a constructor that reads its
// settings. It is tested without a daemon and without a network.
func Example() {
	network := func(iface, prefix string, rtt time.Duration) *policy.Prefix {
		p := netip.MustParsePrefix(prefix)
		return &policy.Prefix{
			ID: policy.PrefixID{Interface: iface, Prefix: p}, Interface: iface, CIDR: p,
			Addrs: []netip.Addr{p.Addr().Next()}, Stats: policy.PathStats{SRTTMedian: rtt},
		}
	}
	p, err := newQuick(policy.Config{
		Name:     "quick",
		Settings: []policy.Setting{{Name: "at_most", Value: "80ms", Constant: true}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	networks := []*policy.Prefix{network("wlan0", "192.0.2.0/24", 12*time.Millisecond), network("wwan0", "198.51.100.0/24", 55*time.Millisecond)}
	for _, category := range []intent.Category{intent.CategoryQuery, intent.CategoryBulkTransfer} {
		d := p.Choose(&policy.Request{Intents: intent.Set{}.WithCategory(category), Prefixes: networks})
		if d.Prefix != nil {
			fmt.Print(d.Prefix.Interface, ", ")
		}
		fmt.Println(d.Reason)
	}
	// Output:
	// wlan0, quickest: 12ms
	// no query
}
