package policytest_test

import (
	"fmt"
	"testing"

	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// cheap takes what costs nothing, and what works before that.
type cheap struct{}

func newCheap(c policy.Config) (policy.Policy, error) {
	return cheap{}, c.Decode(&struct{}{}) // no settings
}

func (cheap) Choose(r *policy.Request) policy.Decision {
	for _, p := range r.Prefixes {
		if p.Cost == policy.Free && p.Health.State == policy.Up {
			return policy.Decision{Prefix: p, Reason: "free of charge"}
		}
	}
	return policy.Decision{Prefix: r.DefaultPrefix(), Reason: "nothing is free"}
}

// A test of a policy is a table of requests.
func Example() {
	_ = func(t *testing.T) {
		wlan := policytest.Prefix("wlan0", "192.0.2.7/24", policytest.Default)
		dead := policytest.Prefix("wlan0", "192.0.2.7/24", policytest.Default, policytest.Health(policy.Down))
		wwan := policytest.Prefix("wwan0", "198.51.100.7/24", policytest.Cost(policy.Metered))
		policytest.Run(t, policytest.Make(newCheap), []policytest.Case{
			{Name: "free", Request: policytest.Request(policy.SocketConnect, wwan, wlan),
				Want: policytest.Answer{Prefix: "wlan0", Reason: "free of charge"}},
			{Name: "free, but dead", Request: policytest.Request(policy.SocketConnect, wwan, dead),
				Want: policytest.Answer{Prefix: "wlan0", Reason: "nothing is free"}},
		})
		_, err := newCheap(policytest.Config("colour=red"))
		policytest.Refused(t, err, `unknown setting "colour"`)
	}
}

// A policy's answer can be printed and checked against the contract without a test.
func ExampleSound() {
	wlan, wwan := policytest.Prefix("wlan0", "192.0.2.7/24"), policytest.Prefix("wwan0", "198.51.100.7/24", policytest.Default)
	r := policytest.Request(policy.SocketConnect, wlan, wwan)
	d := cheap{}.Choose(r)
	fmt.Printf("%+v\n", policytest.AnswerOf(d))

	d.Alternates = append(d.Alternates, wlan)
	fmt.Println(policytest.Sound(r, d))
	// Output:
	// {Prefix:wlan0 FD:0 Alternates: Only:false Multipath:false Resolution:0 Reason:free of charge}
	// the alternate 192.0.2.0/24%wlan0 is named twice
}

// Prefixes are made with what a test is about.
func ExamplePrefix() {
	p := policytest.Prefix("wwan0", "198.51.100.7/24", policytest.Cost(policy.Metered), policytest.Option("weight", "2"))
	fmt.Println(p.ID, p.Cost, p.Health.State, p.Options.Text("weight"))
	// Output: 198.51.100.0/24%wwan0 metered up 2
}

// Requests are made in one expression, so that they fit into a table.
func ExampleIntents() {
	wlan := policytest.Prefix("wlan0", "192.0.2.7/24")
	r := policytest.Intents(policytest.Request(policy.Connect, wlan), "category=query,filesize=64KiB")
	fmt.Println(r.Kind, r.Remote, r.Intents)
	// Output: connect 203.0.113.80:80 category=query,filesize=64KiB
}
