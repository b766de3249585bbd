package policy_test

import (
	"fmt"

	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// fewest takes the network that carries the fewest connections of the user who asks,
// and counts how many it has seen end.
type fewest struct{ ended map[policy.PrefixID]int }

func newFewest(c policy.Config) (policy.Policy, error) {
	return &fewest{map[policy.PrefixID]int{}}, c.Decode(&struct{}{}) // no settings
}

func (f *fewest) Choose(r *policy.Request) policy.Decision {
	var d policy.Decision
	var own policy.Connections
	for _, p := range r.Prefixes {
		if c, known := r.ConnectionsOn(p); known && (d.Prefix == nil || c.User < own.User) {
			d.Prefix, own = p, c
		}
	}
	if d.Prefix == nil {
		return policy.Decision{Prefix: r.DefaultPrefix(), Reason: "nothing is known of the user: default"}
	}
	d.Reason = fmt.Sprintf("the fewest of user %d: %d, of %s %d", r.App.UID, own.User, r.App.Command, own.Program)
	for _, p := range r.Prefixes {
		if p != d.Prefix {
			d.Alternates = append(d.Alternates, p)
		}
	}
	return d
}

// ConnectionEnded is called for each connection that followed a decision.
func (f *fewest) ConnectionEnded(c *policy.Connection) {
	if c.Prefix != nil {
		f.ended[c.Prefix.ID]++
	}
}

// The network with the fewest of my own: a policy is told how many live connections of
// the user and of the program who ask each network carries, and when one ends.
func ExampleConnections() {
	wlan := policytest.Prefix("wlan0", "192.0.2.7/24", policytest.Default)
	wwan := policytest.Prefix("wwan0", "198.51.100.7/24")
	p, err := newFewest(policytest.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	say := func(r *policy.Request) {
		d := p.Choose(r)
		fmt.Println(d.Prefix.Interface+",", d.Reason)
	}
	request := func() *policy.Request { return policytest.Request(policy.SocketConnect, wlan, wwan) }
	say(request())                                                                  // the user is not known
	say(policytest.Carry(policytest.Carry(request(), wlan, 3, 1), wwan, 3, 2))      // equal: the first
	say(policytest.Carry(policytest.Carry(request(), wlan, 3, 1), wwan, 2, 2))      // fewer
	p.(policy.ConnectionObserver).ConnectionEnded(&policy.Connection{Prefix: wlan}) // mamma calls it
	fmt.Println(p.(*fewest).ended)
	// Output:
	// wlan0, nothing is known of the user: default
	// wlan0, the fewest of user 1000: 3, of test 1
	// wwan0, the fewest of user 1000: 2, of test 2
	// map[192.0.2.0/24%wlan0:1]
}
