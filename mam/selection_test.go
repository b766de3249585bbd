package mam

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// namedHost returns host with names and costs: wlan0 is home and free, wwan0 is mobile
// and metered.
func namedHost(p policy.Policy) *View {
	v := host(p)
	for _, x := range v.Prefixes {
		x.Name = "home"
		if x.Interface == "wwan0" {
			x.Name, x.Cost = "mobile", policy.Metered
		}
	}
	return v
}

// preferences parses a text such as "require network home; avoid cost metered".
func preferences(t *testing.T, text string) (list []wire.Preference) {
	t.Helper()
	wants := map[string]wire.Want{"require": wire.WantRequire, "prefer": wire.WantPrefer, "avoid": wire.WantAvoid, "prohibit": wire.WantProhibit, "fancy": 7}
	kinds := map[string]wire.PreferenceKind{"interface": wire.ByInterface, "network": wire.ByNetwork, "cost": wire.ByCost, "colour": 9}
	for one := range strings.SplitSeq(text, "; ") {
		words := strings.Fields(one)
		if len(words) != 3 || wants[words[0]] == 0 || kinds[words[1]] == 0 {
			t.Fatalf("%q", one)
		}
		list = append(list, wire.Preference{Want: wants[words[0]], Kind: kinds[words[1]], Name: words[2]})
	}
	return list
}

// noPreference suggests nothing.
var noPreference = chooser(func(*policy.Request) policy.Decision { return policy.Decision{Reason: "nothing"} })

// Each request's own selection is kept, whatever the policy says.
func TestSelection(t *testing.T) {
	firstOfFour := chooser(func(r *policy.Request) policy.Decision {
		if len(r.Prefixes) == 0 {
			return policy.Decision{Reason: "nothing to choose"}
		}
		return policy.Decision{Prefix: r.Prefixes[0], Multipath: true, Race: true, Reason: "first"}
	})
	const to = "192.0.2.1:80"
	for _, tt := range []struct {
		name      string
		policy    chooser
		selection string
		change    func(v *View, m *wire.Message)
		to        string
		sources   string // the sources of the suggestion and the alternates
		only      wire.Only
		reason    string
	}{
		{name: "prohibit by cost", policy: takeSecondElseFirst, selection: "prohibit cost metered", sources: "10.77.1.1", only: wire.OnlyThese | wire.OnlySelected},
		{name: "require by name", policy: firstOfFour, selection: "require network mobile", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected},
		{name: "require by interface", policy: firstOfFour, selection: "require interface wwan0", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected},
		{name: "one of two names", policy: firstOfFour, selection: "require network work; require network mobile", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected},
		{name: "name and cost", policy: firstOfFour, selection: "require network mobile; require cost free",
			only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected, reason: "the application permits no network that could be used"},
		{name: "a name that no network has", policy: firstOfFour, selection: "require network work", only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected},
		{name: "networks without names have none", policy: firstOfFour, selection: "require network home",
			change: func(v *View, _ *wire.Message) {
				for _, p := range v.Prefixes {
					p.Name = ""
				}
			}, only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected},
		{name: "a kind that is not known", policy: firstOfFour, selection: "prohibit colour green", only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected},
		{name: "a want that is not known", policy: firstOfFour, selection: "fancy network home", only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected},
		{name: "a preference of a kind that is not known", policy: firstOfFour, selection: "prefer colour green", sources: "10.77.1.1"},
		{name: "the policy has no preference", policy: noPreference, selection: "prohibit network home", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected},
		{name: "the default is not permitted, the policy fails", selection: "prohibit network home", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected,
			policy: func(*policy.Request) policy.Decision { panic("on purpose") }},
		{name: "no policy", selection: "prohibit network home", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected,
			change: func(v *View, _ *wire.Message) { v.Runner = nil }},
		{name: "the policy refuses", policy: refuseAll, selection: "prohibit network home", only: wire.OnlyThese | wire.OnlyNone, reason: "not today"},
		{name: "the policy permits its choice alone", policy: onlyFirst, selection: "prohibit network home", sources: "10.77.2.1", only: wire.OnlyThese},
		{name: "it is down", policy: firstOfFour, selection: "require network mobile", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected,
			change: func(v *View, _ *wire.Message) { v.Prefixes[1].Health.State = policy.Down }},
		{name: "costs are avoided, and a costly one required", policy: firstOfFour, selection: "require network mobile", sources: "10.77.2.1", only: wire.OnlyThese | wire.OnlySelected,
			change: func(v *View, _ *wire.Message) { v.AvoidMetered = true }},
		{name: "this host itself", policy: noPreference, selection: "require network mobile", to: "127.0.0.1:80"},
		{name: "bound to what is permitted", policy: firstOfFour, selection: "require network mobile", only: wire.OnlyThese | wire.OnlySelected,
			change: func(_ *View, m *wire.Message) { m.Context.BindRequested = sockAddr("10.77.2.1:0") }},
		{name: "bound to what is not", policy: firstOfFour, selection: "require network mobile", only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected,
			change: func(_ *View, m *wire.Message) { m.Context.BindRequested = sockAddr("10.77.1.1:0") }},
		{name: "bound to nothing that is known", policy: firstOfFour, selection: "require network mobile", only: wire.OnlyThese | wire.OnlyNone | wire.OnlySelected,
			change: func(_ *View, m *wire.Message) { m.Context.BindRequested = sockAddr("10.99.0.1:0") }},
		{name: "not announced", policy: firstOfFour, selection: "prohibit network home", sources: "10.77.1.1",
			change: func(_ *View, m *wire.Message) { m.Features &^= wire.FeatureSelection }},

		{name: "prefer", policy: firstOfFour, selection: "prefer network mobile", sources: "10.77.2.1 10.77.1.1", reason: "first; the application prefers another network"},
		{name: "prefer what is chosen", policy: firstOfFour, selection: "prefer network home", sources: "10.77.1.1", reason: "first"},
		{name: "avoid", policy: firstOfFour, selection: "avoid cost free", sources: "10.77.2.1 10.77.1.1"},
		{name: "avoid what is not there", policy: firstOfFour, selection: "avoid network work", sources: "10.77.1.1", reason: "first"},
		{name: "two speak for it", policy: firstOfFour, selection: "prefer network home; prefer interface wwan0; prefer cost metered", sources: "10.77.2.1 10.77.1.1"},
		{name: "prefer one, prohibit the other", policy: firstOfFour, selection: "prefer network mobile; prohibit cost metered", sources: "10.77.1.1", only: wire.OnlyThese | wire.OnlySelected},
		{name: "prefer without a suggestion", policy: noPreference, selection: "prefer network mobile", sources: "10.77.2.1"},
		{name: "avoid without a suggestion", policy: noPreference, selection: "avoid network home", sources: "10.77.2.1"},
		{name: "prefer what the policy forbids", policy: onlyFirst, selection: "prefer network mobile", sources: "10.77.1.1", only: wire.OnlyThese},
		{name: "the policy refuses what is preferred too", policy: refuseAll, selection: "prefer network mobile", only: wire.OnlyThese | wire.OnlyNone, reason: "not today"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := namedHost(tt.policy)
			if tt.to == "" {
				tt.to = to
			}
			req := connectTo(tt.to)
			req.Features, req.Selection = allFeatures, preferences(t, tt.selection)
			if tt.change != nil {
				tt.change(v, req)
			}
			d := start(t, v, Options{})
			got := d.dial(t).ask(req)
			var sources []string
			if a := got.Context.BindSuggested; a.IsValid() {
				sources = append(sources, a.AddrPort.Addr().String())
			}
			for _, a := range got.Alternates {
				sources = append(sources, a.Local.AddrPort.Addr().String())
			}
			if diff := cmp.Diff(tt.sources, strings.Join(sources, " ")); diff != "" {
				t.Errorf("sources (-want +got)\n%s", diff)
			}
			if got.Only != tt.only || tt.reason != "" && got.Reason != tt.reason {
				t.Errorf("only %v, want %v; reason %q, want %q", got.Only, tt.only, got.Reason, tt.reason)
			}
			if tt.only != 0 && got.Context.Protocol == wire.ProtoMPTCP || len(got.Selection) > 0 {
				t.Errorf("protocol %d, selection %v", got.Context.Protocol, got.Selection)
			}
			if device := got.Context.Device(); tt.only&wire.OnlyNone == 0 && tt.only != 0 && device == "" {
				t.Error("the socket is not to be bound to an interface")
			}
			want := strings.ReplaceAll(tt.selection, ";", ",")
			if req.Features&wire.FeatureSelection == 0 {
				want = ""
			}
			recs := d.Decisions().Since(0)
			if tt.name != "a want that is not known" && tt.name != "a kind that is not known" && tt.name != "a preference of a kind that is not known" &&
				(len(recs) != 1 || recs[0].Selection != want) {
				t.Errorf("remembered: %+v", recs)
			}
		})
	}
}

// takeSecondElseFirst chooses the second candidate, or the first if there is only one.
var takeSecondElseFirst = chooser(func(r *policy.Request) policy.Decision {
	return policy.Decision{Prefix: r.Prefixes[min(1, len(r.Prefixes)-1)], Reason: "second"}
})

// The policy sees only those idle sockets that are permitted, and none that is less
// preferred than a new connection could be.
func TestSelectionOfSockets(t *testing.T) {
	for selection, want := range map[string][]int32{
		"require network mobile":  {5},
		"prohibit cost metered":   {4},
		"prefer network mobile":   {5},
		"avoid network mobile":    {4, 6},
		"prefer network work":     {4, 5, 6},
		"require network work":    nil,
		"prohibit network mobile": {4},
	} {
		var offered []int32
		d := start(t, namedHost(chooser(func(r *policy.Request) policy.Decision {
			for _, s := range r.Sockets {
				offered = append(offered, s.FD)
			}
			return policy.Decision{}
		})), Options{})
		req := socketConnectTo("192.0.2.1", "80")
		req.Action, req.Features, req.Selection = wire.ActionSocketChooseRequest, allFeatures, preferences(t, selection)
		for i, source := range []string{"10.77.1.1:0", "10.77.2.1:0", "10.99.0.1:0"} {
			req.Sockets = append(req.Sockets, wire.SetMember{FD: int32(4 + i), Context: wire.Context{BindSuggested: sockAddr(source)}})
		}
		d.dial(t).ask(req)
		if diff := cmp.Diff(want, offered); diff != "" {
			t.Errorf("%s (-want +got)\n%s", selection, diff)
		}
	}
}

// A policy that is loaded while a request waits is also asked only about what is
// permitted.
func TestSelectionOutlivesReload(t *testing.T) {
	v := namedHost(takeSecondElseFirst)
	v.prepare()
	rq := &request{}
	req := socketConnectTo("192.0.2.1", "80")
	req.Features, req.Selection = allFeatures, preferences(t, "prohibit network home")
	rq.fill(req, policy.SocketConnect, policy.App{}, v, v.Time)
	rq.look(v)
	rq.narrow(policy.IPv6, netip.Addr{})
	for _, p := range rq.asked.Prefixes {
		if p.Name == "home" {
			t.Errorf("%v is offered", p.ID)
		}
	}
	if len(rq.asked.Prefixes) == 0 || len(v.Prefixes) != 4 {
		t.Errorf("offered %d of %d", len(rq.asked.Prefixes), len(v.Prefixes))
	}
}

// Explain treats a selection as a request does.
func TestSelectionExplained(t *testing.T) {
	v := namedHost(takeSecondElseFirst)
	v.Fresh = func() (policy.Policy, error) { return takeSecondElseFirst, nil }
	m := New(Options{})
	m.Publish(v)
	q := Question{Kind: policy.SocketConnect, Host: "four.test", Service: "80", Selection: preferences(t, "require network home")}
	e, err := m.Explain(q, v.Time)
	if err != nil || e.Record.Decision.Prefix == nil || e.Record.Decision.Prefix.Name != "home" || e.Record.Selection != "require network home" || len(e.Candidates) != 2 || e.Device != "wlan0" {
		t.Errorf("%+v, %v", e, err)
	}
	q.Selection = preferences(t, "require network work")
	if e, err = m.Explain(q, v.Time); err != nil || !e.Record.Refused {
		t.Errorf("%+v, %v", e, err)
	}
}
