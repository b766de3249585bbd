package mam

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// onlyFirst permits only the first candidate, and nothing if there is none.
var onlyFirst = chooser(func(r *policy.Request) policy.Decision {
	d := policy.Decision{Only: true, Multipath: true, Reason: "only this"}
	if len(r.Prefixes) > 0 {
		d.Prefix = r.Prefixes[0]
	}
	return d
})

// refuseAll permits nothing.
var refuseAll = chooser(func(*policy.Request) policy.Decision { return policy.Decision{Only: true, Reason: "not today"} })

const allFeatures = ourFeatures &^ wire.FeatureNoResolve

// Clients are told what a decision forbids, as far as they understand that.
func TestOnly(t *testing.T) {
	older := wire.FeatureAlternates | wire.FeatureReason | wire.FeatureReports
	stray := prefix("stray", 7, "10.99.0.1/24")
	for _, tt := range []struct {
		name     string
		policy   chooser
		req      *wire.Message
		features wire.Features
		bound    string
		action   wire.Action
		only     wire.Only
		source   string
		device   string
		fallback string
	}{
		{name: "confined", policy: onlyFirst, req: socketConnectTo("four.test", "80"), features: allFeatures,
			action: wire.ActionSocketConnectResponse, only: wire.OnlyThese, source: "10.77.1.1:0", device: "wlan0"},
		{name: "confined, an older client", policy: onlyFirst, req: socketConnectTo("four.test", "80"), features: older,
			action: wire.ActionSocketConnectResponse, source: "10.77.1.1:0", device: "wlan0"},
		{name: "confined, the original's client", policy: onlyFirst, req: connectTo("192.0.2.1:80"),
			action: wire.ActionConnectResponse, source: "10.77.1.1:0", device: "wlan0"},
		{name: "refused", policy: refuseAll, req: socketConnectTo("four.test", "80"), features: allFeatures,
			action: wire.ActionSocketConnectResponse, only: wire.OnlyThese | wire.OnlyNone},
		{name: "refused, an older client", policy: refuseAll, req: socketConnectTo("four.test", "80"), features: older, action: wire.ActionErrorResolve},
		{name: "refused, the original's client", policy: refuseAll, req: socketConnectTo("four.test", "80"), action: wire.ActionErrorResolve},
		{name: "refused, the original's connect", policy: refuseAll, req: connectTo("192.0.2.1:80"), action: wire.ActionConnectResponse},
		{name: "refused connect", policy: refuseAll, req: connectTo("192.0.2.1:80"), features: allFeatures,
			action: wire.ActionConnectResponse, only: wire.OnlyThese | wire.OnlyNone},
		{name: "nothing reaches it", policy: onlyFirst, req: connectTo("172.17.0.2:80"), features: allFeatures,
			action: wire.ActionConnectResponse, only: wire.OnlyThese | wire.OnlyNone},
		{name: "refused once its address is known", policy: onlyFirst, req: socketConnectTo("localhost", "80"), features: older, action: wire.ActionErrorResolve},
		{name: "bound to what is permitted", req: connectTo("192.0.2.1:80"), features: allFeatures, bound: "10.77.2.1:0",
			policy: func(r *policy.Request) policy.Decision {
				return policy.Decision{Only: true, Prefix: r.BoundPrefix, Reason: "as it is"}
			},
			action: wire.ActionConnectResponse, only: wire.OnlyThese, device: "wwan0"},
		{name: "bound to what is not", policy: onlyFirst, req: connectTo("192.0.2.1:80"), features: allFeatures, bound: "10.77.2.1:0",
			action: wire.ActionConnectResponse, only: wire.OnlyThese | wire.OnlyNone},
		{name: "nonsense is no way out", req: connectTo("192.0.2.1:80"), features: allFeatures,
			policy: func(*policy.Request) policy.Decision {
				return policy.Decision{Only: true, Prefix: stray, Reason: "stray"}
			},
			action: wire.ActionConnectResponse, only: wire.OnlyThese | wire.OnlyNone,
			fallback: "policy test chose 10.99.0.0/24%stray, which was not offered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := start(t, host(tt.policy), Options{})
			tt.req.Features = tt.features
			if tt.bound != "" {
				tt.req.Context.BindRequested = sockAddr(tt.bound)
			}
			got := d.dial(t).ask(tt.req)
			if got.Action != tt.action || got.Only != tt.only {
				t.Errorf("action %v, only %v; want %v, %v", got.Action, got.Only, tt.action, tt.only)
			}
			var source wire.SockAddr
			if tt.source != "" {
				source = sockAddr(tt.source)
			}
			if got.Context.BindSuggested != source || got.Context.Device() != tt.device || got.Context.Protocol == wire.ProtoMPTCP {
				t.Errorf("suggested %v on %q, protocol %d", got.Context.BindSuggested, got.Context.Device(), got.Context.Protocol)
			}
			for _, o := range got.Context.OptionsSuggested {
				if o.Flags&wire.SockOptOptional != 0 {
					t.Error("the binding to the interface is optional")
				}
			}
			refused := tt.only&wire.OnlyNone != 0 || tt.source == "" && tt.device == ""
			if refused && (len(got.Alternates) > 0 || len(got.Context.Result) > 0) {
				t.Errorf("a refusal with %d alternates and %d addresses", len(got.Alternates), len(got.Context.Result))
			}
			recs := d.Decisions().Since(0)
			if len(recs) != 1 || recs[0].Refused != refused || !recs[0].Decision.Only || recs[0].Fallback != tt.fallback {
				t.Errorf("remembered: %+v", recs)
			}
		})
	}
}

// Names are not looked up for a client that the policy refuses.
func TestOnlyResolve(t *testing.T) {
	d := start(t, host(deciding{refuseAll}), Options{})
	for features, want := range map[wire.Features]wire.Only{0: 0, allFeatures: wire.OnlyThese | wire.OnlyNone} {
		req := socketConnectTo("four.test", "80")
		req.Action, req.Features = wire.ActionResolveRequest, features
		got := d.dial(t).ask(req)
		if got.Only != want || len(got.Context.Result) != 0 || features == 0 && got.Action != wire.ActionErrorResolve {
			t.Errorf("features %v: %v, only %v, result %v", features, got.Action, got.Only, got.Context.Result)
		}
	}
}

// deciding decides about names in the same way as about connections.
type deciding struct{ chooser }

func (r deciding) ChooseResolver(q *policy.Request) policy.Decision { return r.Choose(q) }

func TestOnlyExplained(t *testing.T) {
	v := host(onlyFirst)
	v.Fresh = func() (policy.Policy, error) { return onlyFirst, nil }
	m := New(Options{})
	m.Publish(v)
	e, err := m.Explain(Question{Kind: policy.SocketConnect, Host: "four.test", Service: "80"}, v.Time)
	if err != nil || e.Record.Refused || !e.Record.Decision.Only || e.Device != "wlan0" {
		t.Errorf("%+v, %v", e, err)
	}
	v.Fresh = func() (policy.Policy, error) { return refuseAll, nil }
	e, err = m.Explain(Question{Kind: policy.SocketConnect, Host: "four.test", Service: "80"}, v.Time)
	if err != nil || !e.Record.Refused || e.Record.Decision.Reason != "not today" || e.Device != "" {
		t.Errorf("%+v, %v", e, err)
	}
}

// If a connection uses Multipath TCP all the same, it gets no subflow over what was
// forbidden for it.
func TestOnlySubflows(t *testing.T) {
	v := host(takeFirst)
	v.prepare()
	rec := &Record{Decision: policy.Decision{Prefix: v.Prefixes[0], Alternates: v.Prefixes[2:3]}}
	for only, want := range map[bool][]string{false: {"10.77.1.0/24%wlan0", "10.77.2.0/24%wwan0"}, true: {"10.77.1.0/24%wlan0"}} {
		rec.Decision.Only = only
		to := sockAddr("192.0.2.1:80").AddrPort
		r := v.subflowRequest(MultipathConn{Local: sockAddr("10.77.1.1:99").AddrPort, Remote: to, Remotes: []netip.AddrPort{to}, Decision: rec}, v.Time)
		var got []string
		for _, p := range r.Prefixes {
			got = append(got, p.ID.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("only %v (-want +got)\n%s", only, diff)
		}
	}
}
