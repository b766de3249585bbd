package mam

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// resolving is a policy that also decides about lookups.
type resolving struct{ chooser }

func (resolving) ChooseResolver(*policy.Request) policy.Decision {
	return policy.Decision{Resolution: policy.ResolveDefault, Reason: "lookup"}
}

// OnCall sees every call of the policy with its request, even if the answer leads to
// another call or cannot be used.
func TestOnCall(t *testing.T) {
	type choice struct {
		policy     string
		kind       policy.Kind
		host       string
		candidates int
		reason     string
	}
	var got []choice
	opts := Options{OnCall: func(name string, r *policy.Request, d policy.Decision) {
		got = append(got, choice{name, r.Kind, r.Host, len(r.Prefixes), d.Reason})
	}}
	stray := prefix("stray", 9, "192.0.2.9/24")
	d := start(t, host(resolving{func(r *policy.Request) policy.Decision {
		if r.Host == "host.test" {
			return policy.Decision{Prefix: stray, Reason: "stray"}
		}
		return takeFirst(r)
	}}), opts)
	c := d.dial(t)
	c.ask(connectTo("192.0.2.1:80"))
	c.ask(socketConnectTo("lan.test", "80")) // only one prefix leads there
	c.ask(socketConnectTo("host.test", "80"))
	c.ask(socketConnectTo("2001:db8::9", "80")) // an address has a family
	c.ask(&wire.Message{Action: wire.ActionResolveRequest, Context: wire.Context{Hostname: "four.test"}})
	want := []choice{
		{"test", policy.Connect, "", 2, "first"},
		{"test", policy.SocketConnect, "lan.test", 4, "first"},
		{"test", policy.SocketConnect, "lan.test", 1, "first"},
		{"test", policy.SocketConnect, "host.test", 4, "stray"},
		{"test", policy.SocketConnect, "2001:db8::9", 2, "first"},
		{"test", policy.Resolve, "four.test", 4, "lookup"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(choice{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
