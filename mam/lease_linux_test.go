package mam

import (
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// leasing chooses the first candidate and grants a lease.
type leasing struct {
	lease    policy.Lease
	change   func(*policy.Decision) // nil: none
	revoking bool
	told     []uint32
}

func (l *leasing) Choose(r *policy.Request) policy.Decision {
	d := takeFirst(r)
	d.Lease, d.Token = l.lease, 7
	if len(r.Sockets) > 0 {
		d.Socket = &r.Sockets[0]
	}
	if l.change != nil {
		l.change(&d)
	}
	return d
}

func (l *leasing) Leased(token uint64, uses uint32, _ time.Time) {
	if token == 7 {
		l.told = append(l.told, uses)
	}
}

func (l *leasing) Measured([]*policy.Prefix, time.Time) {}

func (l *leasing) Ended(*policy.Transfer) {}

func (l *leasing) Revoke() bool { return l.revoking }

func ownPage(t testing.TB) *generation.Own {
	t.Helper()
	page, err := generation.Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = page.Close() })
	return page
}

// leaser returns a request for a name, from a client that knows leases.
func leaser() *wire.Message {
	m := socketConnectTo("four.test", "443")
	m.Features, m.NoResolve = everything, true
	return m
}

// valid tells whether a lease is still valid for a client with this page.
func valid(page *generation.Page, l *wire.Lease) bool {
	if page.Load(generation.View) != l.View || l.Measurements != 0 && page.Load(generation.Measurements) != l.Measurements {
		return false
	}
	n := l.Networks[0]
	return n.Index == 0 || page.Load(n.Index) == n.Value
}

// The first answer to a client that knows leases brings the page. Other clients do not
// get it.
func TestPageIsHandedOver(t *testing.T) {
	d := start(t, host(&leasing{lease: policy.Lease{For: time.Minute}}), Options{Generations: ownPage(t)})
	greet := func(c *client, f wire.Features) (*generation.Page, wire.Features) {
		b, err := (&wire.Message{Action: wire.ActionErrorUnknownRequest, Features: f}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		in, control := make([]byte, wire.MaxMessage), make([]byte, generation.RightsSize())
		n, oobn, _, _, err := c.Conn.(*net.UnixConn).ReadMsgUnix(in, control)
		if err != nil {
			t.Fatal(err)
		}
		page, err := generation.Received(control[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		var m wire.Message
		if err := wire.Decode(in[:n], &m); err != nil {
			t.Fatal(err)
		}
		return page, m.Features
	}
	for _, f := range []wire.Features{0, everything &^ wire.FeatureLeases} {
		if page, _ := greet(d.dial(t), f); page != nil {
			t.Errorf("a page for a client with the features %v", f)
		}
	}
	c := d.dial(t)
	page, f := greet(c, everything)
	if !page.Same(&d.leases.page.Page) || f&wire.FeatureLeases == 0 {
		t.Fatalf("page %v, features %v", page, f)
	}
	if again, _ := greet(c, everything); again != nil {
		t.Error("the page comes twice")
	}
	if got := c.ask(leaser()); got.Lease == nil || !valid(page, got.Lease) {
		t.Errorf("the lease is %+v", got.Lease)
	}
	// A client that ignores the descriptor of the page still gets the answer.
	if got := d.dial(t).ask(leaser()); got.Lease == nil {
		t.Error("no lease")
	}
}

func TestLeaseIsGranted(t *testing.T) {
	lease := policy.Lease{
		For: 1500 * time.Millisecond, Uses: 3, Bytes: 1 << 40, Measured: true, AnyName: true,
		Ignored: policy.MaskOf(intent.OptBitrate), Sizes: policy.SizeRange{From: -1, To: 1 << 40},
	}
	page := ownPage(t)
	full := &wire.Lease{
		Milliseconds: 1500, Uses: 3, Bytes: 1 << 40, Flags: wire.LeaseAnyName, Ignored: 1 << intent.OptBitrate, SizeFrom: -1, SizeTo: 1 << 40,
		Networks: []wire.Generation{{Index: 2, Value: 1}, {Index: 3, Value: 1}, {Index: 4, Value: 1}, {Index: 5, Value: 1}},
	}
	only := func(networks ...wire.Generation) *wire.Lease {
		l := *full
		l.Flags, l.Networks = 0, networks
		return &l
	}
	for _, tt := range []struct {
		name   string
		change func(*policy.Decision)
		ask    func(*wire.Message)
		opts   func(*Options)
		want   *wire.Lease
	}{
		{"all of it", nil, nil, nil, full},
		{"an address, whose routes matter", nil, func(m *wire.Message) { m.Context.Hostname = "192.0.2.4" }, nil, only(full.Networks[:2]...)},
		{"a socket that there is", nil, func(m *wire.Message) { *m = *connectTo("192.0.2.4:80"); m.Features = everything }, nil, only(full.Networks[:2]...)},
		{"no network", func(d *policy.Decision) { d.Prefix, d.Alternates = nil, nil }, nil, nil, func() *wire.Lease {
			l := *full
			l.Networks = []wire.Generation{{}}
			return &l
		}()},
		{"an idle connection", nil, func(m *wire.Message) {
			m.Action, m.Sockets = wire.ActionSocketChooseRequest, []wire.SetMember{{FD: 3, Context: wire.Context{BindSuggested: sockAddr("10.77.2.1:0")}}}
		}, nil, func() *wire.Lease {
			l := *full
			l.Networks = full.Networks[1:2]
			return &l
		}()},
		{"the client does not know it", nil, func(m *wire.Message) { m.Features &^= wire.FeatureLeases }, nil, nil},
		{"its name is resolved, too", nil, func(m *wire.Message) { m.NoResolve = false }, nil, nil},
		{"bound", nil, func(m *wire.Message) { m.Context.BindRequested = sockAddr("10.77.2.1:0") }, nil, nil},
		{"Multipath", func(d *policy.Decision) { d.Multipath = true }, nil, nil, nil},
		{"a race", func(d *policy.Decision) { d.Race = true }, nil, nil, nil},
		{"refused", func(d *policy.Decision) { d.Only, d.Prefix, d.Alternates = true, nil, nil }, nil, nil, nil},
		{"nonsense", func(d *policy.Decision) { d.Prefix = prefix("z", 9, "203.0.113.1/24") }, nil, nil, nil},
		{"none granted", func(d *policy.Decision) { d.Lease = policy.Lease{} }, nil, nil, nil},
		{"recorded", nil, nil, func(o *Options) { o.OnCall = func(string, *policy.Request, policy.Decision) {} }, nil},
		{"no page", nil, nil, func(o *Options) { o.Generations = nil }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := Options{Generations: page}
			if tt.opts != nil {
				tt.opts(&opts)
			}
			d := start(t, host(&leasing{lease: lease, change: tt.change}), opts)
			m := leaser()
			if tt.ask != nil {
				tt.ask(m)
			}
			got := d.dial(t).ask(m).Lease
			if tt.want != nil && got != nil {
				if got.View == 0 || got.Measurements == 0 || !valid(&page.Page, got) {
					t.Errorf("it is void at once: %+v", got)
				}
				got.View, got.Measurements = 0, 0
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lease (-want +got)\n%s", diff)
			}
		})
	}
}

// Each change ends the leases whose decisions it could change, and no others.
func TestLeasesEnd(t *testing.T) {
	lasting, measured := &leasing{lease: policy.Lease{For: time.Minute}}, &leasing{lease: policy.Lease{For: time.Minute, Measured: true}}
	worse := func(v *View, i int, s policy.HealthState) {
		p := *v.Prefixes[i]
		p.Health.State = s
		v.Prefixes[i] = &p
	}
	edit := func(i int, f func(*policy.Prefix)) func(*daemon, *View) {
		return func(_ *daemon, v *View) {
			p := *v.Prefixes[i]
			f(&p)
			v.Prefixes[i] = &p
		}
	}
	for _, tt := range []struct {
		name              string
		change            func(*daemon, *View)
		lasting, measured bool // whether the two leases are still valid
	}{
		{"nothing", func(*daemon, *View) {}, true, true},
		{"the time of a measurement", edit(0, func(p *policy.Prefix) { p.Stats.Time = time.Now(); p.Link.Time = time.Now() }), true, true},
		{"a measurement", edit(1, func(p *policy.Prefix) { p.Stats.SRTTMin = 5 }), true, false},
		{"its network is suspect", func(_ *daemon, v *View) { worse(v, 0, policy.Suspect) }, false, false},
		{"its network is down", func(_ *daemon, v *View) { worse(v, 0, policy.Down) }, false, false},
		{"another network is down", func(_ *daemon, v *View) { worse(v, 1, policy.Down) }, true, false},
		{"a network has returned", func(_ *daemon, v *View) { worse(v, 3, policy.Up) }, false, false},
		{"a network is gone", func(_ *daemon, v *View) { v.Prefixes = v.Prefixes[:3] }, false, false},
		{"a network is new", func(_ *daemon, v *View) { v.Prefixes = append(v.Prefixes, prefix("eth0", 4, "10.77.3.1/24")) }, false, false},
		{"another address", edit(0, func(p *policy.Prefix) { p.Addrs = addrs("10.77.1.9") }), false, false},
		{"another cost", edit(1, func(p *policy.Prefix) { p.Cost = policy.Expensive }), false, false},
		{"another setting", edit(1, func(p *policy.Prefix) { p.Options = policy.Options{"x": policy.NewOption("1")} }), false, false},
		{"the default", edit(1, func(p *policy.Prefix) { p.Default = true }), false, false},
		{"a device", func(_ *daemon, v *View) { v.Devices = map[policy.PrefixID]string{v.Prefixes[0].ID: "wlan0"} }, false, false},
		{"what a user avoids", func(_ *daemon, v *View) { v.Avoid = map[uint32][]policy.PrefixID{1: {v.Prefixes[0].ID}} }, false, false},
		{"metered networks are avoided", func(_ *daemon, v *View) { v.AvoidMetered = true }, false, false},
		{"a reload", func(_ *daemon, v *View) { v.Runner = host(takeFirst).Runner }, false, false},
		{"the host's networks", func(_ *daemon, v *View) { v.Epoch++ }, false, false},
		{"a route", func(d *daemon, _ *View) { d.VoidLeases() }, false, false},
		{"a configuration string", func(d *daemon, _ *View) { _ = d.Reconfigure("x") }, false, false},
		{"the policy has learnt something", func(d *daemon, _ *View) {
			lasting.revoking, measured.revoking = true, true
			d.Measured(time.Now())
			lasting.revoking, measured.revoking = false, false
		}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, p := range []*leasing{lasting, measured} {
				page := ownPage(t)
				v := host(p)
				worse(v, 3, policy.Suspect)
				d := start(t, v, Options{Generations: page})
				l := d.dial(t).ask(leaser()).Lease
				if l == nil || !valid(&page.Page, l) {
					t.Fatalf("at first: %+v", l)
				}
				next := host(nil)
				next.Runner, next.Prefixes = v.Runner, append([]*policy.Prefix(nil), v.Prefixes...)
				tt.change(d, next)
				d.Publish(next)
				want := tt.lasting
				if p == measured {
					want = tt.measured
				}
				if got := valid(&page.Page, l); got != want {
					t.Errorf("measured %v: valid %v, want %v", p == measured, got, want)
				}
				again := d.dial(t).ask(leaser()).Lease
				if again != nil && !valid(&page.Page, again) {
					t.Errorf("the next one is void at once: %+v", again)
				}
			}
		})
	}
}

// A lease that is granted while something changes is void, because the decision may be
// older than the change.
func TestLeaseOfOldView(t *testing.T) {
	page := ownPage(t)
	p := &leasing{lease: policy.Lease{For: time.Minute}}
	v := host(p)
	var d *daemon
	p.change = func(*policy.Decision) {
		next := host(nil)
		next.Runner = v.Runner
		down := *next.Prefixes[0]
		down.Health.State = policy.Down
		next.Prefixes[0] = &down
		d.Publish(next)
	}
	d = start(t, v, Options{Generations: page})
	if l := d.dial(t).ask(leaser()).Lease; l == nil || valid(&page.Page, l) {
		t.Errorf("%+v", l)
	}
}

// If there are more networks than a page has room for, they share the generation of the
// View.
func TestManyNetworksHaveLeases(t *testing.T) {
	page := ownPage(t)
	p := &leasing{lease: policy.Lease{For: time.Minute}, change: func(d *policy.Decision) {
		last := len(d.Alternates) - 1
		d.Prefix, d.Alternates = d.Alternates[last], nil
	}}
	v := host(p)
	v.Prefixes = nil
	for i := range 2 * generation.Words {
		v.Prefixes = append(v.Prefixes, prefix("wlan0", 2, netip24(i)))
	}
	d := start(t, v, Options{Generations: page})
	l := d.dial(t).ask(leaser()).Lease
	if l == nil || !valid(&page.Page, l) || l.Networks[0].Index != 0 {
		t.Fatalf("%+v", l)
	}
	next := host(nil)
	next.Runner, next.Prefixes = v.Runner, append([]*policy.Prefix(nil), v.Prefixes...)
	last := *next.Prefixes[len(next.Prefixes)-1]
	last.Health.State = policy.Down
	next.Prefixes[len(next.Prefixes)-1] = &last
	d.Publish(next)
	if valid(&page.Page, l) {
		t.Error("the lease holds although its network is down")
	}
	// Networks come and go while a laptop runs, so places in the page are used again.
	for i := range 3 * generation.Words {
		few := host(nil)
		few.Runner, few.Prefixes = v.Runner, []*policy.Prefix{prefix("wlan0", 2, netip24(i))}
		d.Publish(few)
	}
	if g := d.View().generation(d.View().Prefixes[0]); g.Index == 0 {
		t.Error("a network alone has no generation of its own")
	}
}

func netip24(i int) string {
	return net.IPv4(10, byte(i>>8), byte(i), 1).String() + "/24"
}

func TestLeasedConnectionsAreCounted(t *testing.T) {
	p := &leasing{lease: policy.Lease{For: time.Minute}}
	type use struct {
		id   uuid.UUID
		uses uint32
	}
	var uses []use
	reported := make(chan Record, 4)
	d := start(t, host(p), Options{
		Generations: ownPage(t), OnReport: func(r Record) { reported <- r },
		OnLeased: func(r *Record, n uint32) { uses = append(uses, use{r.ID, n}) },
	})
	c := d.dial(t)
	id := c.ask(leaser()).DecisionID
	unknown := uuid.New()
	m := leaser() // any request can report leases
	m.Leased = []wire.LeaseUse{{ID: id, Uses: 5, Connected: 4, Milliseconds: 30}, {ID: unknown, Uses: 2}, {ID: id}}
	got := c.ask(m)
	if len(got.Leased) != 0 || got.Lease == nil {
		t.Errorf("answer %+v", got)
	}
	c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: everything, Leased: []wire.LeaseUse{{ID: id, Uses: 1}}})
	rec, ok := d.Decisions().Get(id)
	if !ok || rec.Uses != 6 || rec.Outcome == nil || rec.Outcome.Took != 30*time.Millisecond {
		t.Errorf("remembered %+v", rec)
	}
	if n := d.LeasedConnections(); n != 8 {
		t.Errorf("%d connections by leases, want 8: those of forgotten decisions count", n)
	}
	if diff := cmp.Diff([]use{{id, 5}, {id, 1}}, uses, cmp.AllowUnexported(use{})); diff != "" {
		t.Errorf("told (-want +got)\n%s", diff)
	}
	if r := <-reported; r.ID != id || len(reported) != 0 {
		t.Errorf("reported %+v, and %d more", r, len(reported))
	}
	if diff := cmp.Diff([]uint32{5, 1}, p.told); diff != "" {
		t.Errorf("the policy was told (-want +got)\n%s", diff)
	}
}

// A client understands the class of a lease as the policy means it.
func TestLeaseClass(t *testing.T) {
	set := rapid.Custom(func(t *rapid.T) intent.Set {
		var s intent.Set
		for range rapid.IntRange(0, 3).Draw(t, "intents") {
			s = s.With(intent.Option(rapid.IntRange(1, 7).Draw(t, "intent")), rapid.Int64Range(-1, 3).Draw(t, "value"))
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		l := policy.Lease{Ignored: policy.IntentMask(rapid.Uint32Range(0, 255).Draw(t, "ignored"))}
		if rapid.Bool().Draw(t, "sized") {
			l.Sizes = policy.SizeRange{From: rapid.Int64Range(-2, 2).Draw(t, "from"), To: rapid.Int64Range(-2, 4).Draw(t, "to")}
		}
		w := wire.Lease{Ignored: uint32(l.Ignored), SizeFrom: l.Sizes.From, SizeTo: l.Sizes.To}
		a, b := set.Draw(t, "a"), set.Draw(t, "b")
		if got, want := w.Alike(a, b), l.Alike(a, b); got != want {
			t.Fatalf("%v and %v are alike by %+v: %v, to the client %v", a, b, l, want, got)
		}
	})
}
