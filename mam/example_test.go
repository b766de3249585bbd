package mam_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// last is a policy that takes the last prefix.
type last struct{}

func (last) Choose(r *policy.Request) policy.Decision {
	return policy.Decision{Prefix: r.Prefixes[len(r.Prefixes)-1], Reason: "the last one"}
}

// A manager decides by the View that was published to it. A Server serves it on a
// socket.
func ExampleManager_Explain() {
	prefix := netip.MustParsePrefix("192.0.2.0/24")
	wlan := &policy.Prefix{
		ID: policy.PrefixID{Interface: "wlan0", Prefix: prefix}, Interface: "wlan0", CIDR: prefix,
		Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Default: true,
	}
	m := mam.New(mam.Options{})
	m.Publish(&mam.View{
		Prefixes: []*policy.Prefix{wlan},
		Runner:   mam.NewRunner("last", last{}, nil),
		Fresh:    func() (policy.Policy, error) { return last{}, nil },
	})
	e, err := m.Explain(mam.Question{Kind: policy.Connect, Remote: netip.MustParseAddrPort("203.0.113.1:443")}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Record.Decision.Prefix.Interface, "since it is", e.Record.Decision.Reason)
	// Output: wlan0 since it is the last one
}
