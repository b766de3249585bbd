package client

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// twoNetworks suggests 127.0.0.2 on interface a, with 127.0.0.3 on b as an alternate. A
// connection from these loopback addresses counts as one over that interface. The
// interfaces do not exist, but failing to bind to them does no harm.
func twoNetworks(m *wire.Message) bool {
	suggest("127.0.0.2", "127.0.0.3")(m)
	if m.Action == wire.ActionSocketConnectResponse || m.Action == wire.ActionSocketChooseNew {
		m.Context.OptionsSuggested = []wire.SockOpt{{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte("a"), Flags: wire.SockOptOptional}}
		m.Alternates[0].Device = "b"
	}
	return true
}

func selected(pairs ...any) (s SelectionProperties) {
	for i := 0; i < len(pairs); i += 2 {
		s = s.WithInterface(pairs[i].(string), pairs[i+1].(Preference))
	}
	return s
}

func TestSelection(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, twoNetworks)
	none := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct {
		name      string
		path      string
		host      string
		selection SelectionProperties
		from      string // "": refused
	}{
		{"nothing", f.path, "127.0.0.1", selected(), "127.0.0.2"},
		{"prohibit", f.path, "127.0.0.1", selected("a", Prohibit), "127.0.0.3"},
		{"require", f.path, "host.test", selected("b", Require), "127.0.0.3"},
		{"require one of two", f.path, "127.0.0.1", selected("c", Require, "b", Require), "127.0.0.3"},
		{"prefer", f.path, "127.0.0.1", selected("b", Prefer), "127.0.0.3"},
		{"avoid", f.path, "127.0.0.1", selected("a", Avoid), "127.0.0.3"},
		{"avoid what is not there", f.path, "127.0.0.1", selected("c", Avoid), "127.0.0.2"},
		{"require what is not there", f.path, "127.0.0.1", selected("c", Require), ""},
		{"prohibit all", f.path, "host.test", selected("a", Prohibit, "b", Prohibit), ""},
		{"avoid without manager", none, "127.0.0.1", selected("a", Avoid), "127.0.0.1"},
		{"this host without manager", none, "127.0.0.1", selected("a", Prohibit), "127.0.0.1"},
		{"require without manager", none, "127.0.0.1", selected("a", Require), ""},
		{"prohibit a name without manager", none, "host.test", selected("a", Prohibit), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := dialer(t, test.path)
			d.Selection = test.selection
			ways := map[string]func() (peer string, err error){
				"Dialer": func() (string, error) {
					nc, err := d.DialContext(t.Context(), "tcp", test.host+":"+srv.port)
					if err != nil {
						return "", err
					}
					_ = nc.Close()
					return (<-srv.peers).String(), nil
				},
				"Pool": func() (string, error) {
					c, err := (&Pool{Dialer: d}).Get(t.Context(), "tcp", test.host+":"+srv.port)
					if err != nil {
						return "", err
					}
					_ = c.Close()
					return (<-srv.peers).String(), nil
				},
				"Endpoints": func() (string, error) {
					dec, err := d.Decide(t.Context(), "tcp", test.host+":"+srv.port)
					if err != nil {
						return "", err
					}
					list, err := dec.Endpoints(t.Context())
					if err != nil {
						return "", err
					}
					if !list[0].Source.IsValid() {
						return "127.0.0.1", nil
					}
					return list[0].Source.String(), nil
				},
			}
			for name, connect := range ways {
				got, err := connect()
				if got != test.from || (test.from == "") != errors.Is(err, ErrNotPermitted) {
					t.Errorf("%s: from %q (%v), want %q", name, got, err, test.from)
				}
			}
		})
	}
}

// A prohibited alternate does not take part in the race, and an idle connection over a
// prohibited network is not used again.
func TestSelectionElsewhere(t *testing.T) {
	f := startFake(t, "", false, twoNetworks)
	d := dialer(t, f.path)
	ctx := WithSelection(t.Context(), selected("b", Prohibit))
	_, err := d.DialContext(ctx, "tcp", "127.0.0.1:"+closedPort(t))
	var failed *DialError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v", err)
	}
	for _, a := range failed.Attempts {
		if a.Device == "b" && !errors.Is(a.Err, ErrNotPermitted) {
			t.Errorf("tried %v", a)
		}
	}
	srv := startServer(t)
	p, _ := startPool(t, func(m *wire.Message) bool {
		if m.Action == wire.ActionSocketChooseRequest && len(m.Sockets) > 0 {
			return reuseFirst(m)
		}
		return twoNetworks(m)
	})
	first := must(t, p, "127.0.0.1:"+srv.port, false)
	_ = first.Release()
	c, err := p.Get(WithSelection(t.Context(), selected("a", Prohibit)), "tcp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if info, _ := InfoOf(c); info.Reused || info.Device != "b" {
		t.Errorf("info %+v", info)
	}
	must(t, p, "127.0.0.1:"+srv.port, true)
}

func TestSelectionProperties(t *testing.T) {
	s := selected("wwan0", Prohibit, "eth0", Prefer)
	if s.String() != "prefer eth0, prohibit wwan0" || !s.Strict() || s.Interface("eth0") != Prefer || s.Interface("x") != NoPreference {
		t.Errorf("%v", s)
	}
	if s != selected("eth0", Avoid, "eth0", Prefer, "x", Require, "x", NoPreference, "wwan0", Prohibit) {
		t.Error("the same is not equal")
	}
	merged := selected("eth0", Avoid).Merge(s)
	if merged.String() != "avoid eth0, prohibit wwan0" {
		t.Errorf("merged: %v", merged)
	}
	if selected("eth0", Avoid).Strict() || !selected().IsZero() {
		t.Error("what is strict, and what is nothing")
	}
}

// names returns preferences that only the manager can judge.
func names(pairs ...any) (s SelectionProperties) {
	for i := 0; i < len(pairs); i += 2 {
		switch x := pairs[i].(type) {
		case string:
			s = s.WithNetwork(x, pairs[i+1].(Preference))
		case Cost:
			s = s.WithCost(x, pairs[i+1].(Preference))
		}
	}
	return s
}

// Only the manager knows names and costs. If it does not know selections, because it is
// the original's, an older one or not running, then a requirement or prohibition by name
// or cost leaves nothing that is permitted, and preferences have no effect.
func TestSelectionByManager(t *testing.T) {
	srv := startServer(t)
	newest := startFake(t, "", false, twoNetworks)
	older := startFake(t, "", false, twoNetworks)
	older.lacks = wire.FeatureSelection
	original := startFake(t, "", true, twoNetworks)
	none := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct {
		name      string
		path      string
		host      string
		selection SelectionProperties
		from      string // "": refused
	}{
		{"require", newest.path, "host.test", names("home", Require), "127.0.0.2"},
		{"prohibit", newest.path, "127.0.0.1", names(CostMetered, Prohibit), "127.0.0.2"},
		{"prefer", newest.path, "127.0.0.1", names("home", Prefer), "127.0.0.2"},
		{"require, with an interface", newest.path, "127.0.0.1", names("home", Require).WithInterface("b", Require), "127.0.0.3"},
		{"require, an older manager", older.path, "127.0.0.1", names("home", Require), ""},
		{"prohibit, an older manager", older.path, "host.test", names(CostExpensive, Prohibit), ""},
		{"prefer, an older manager", older.path, "127.0.0.1", names("home", Prefer, CostMetered, Avoid), "127.0.0.2"},
		{"prefer an interface, an older manager", older.path, "127.0.0.1", names("home", Avoid).WithInterface("b", Prefer), "127.0.0.3"},
		{"require, the original", original.path, "127.0.0.1", names("home", Require), ""},
		{"prohibit, the original", original.path, "host.test", names(CostMetered, Prohibit), ""},
		{"this host is free, the original", original.path, "127.0.0.1", names(CostMetered, Prohibit), "127.0.0.1"},
		{"prefer, the original", original.path, "127.0.0.1", names("home", Prefer), "127.0.0.2"},
		{"require, no manager", none, "127.0.0.1", names("home", Require), ""},
		{"require a name, no manager", none, "host.test", names("home", Require), ""},
		{"avoid, no manager", none, "127.0.0.1", names(CostMetered, Avoid), "127.0.0.1"},
		{"this host is free, no manager", none, "127.0.0.1", names(CostFree, Require, CostExpensive, Prohibit), "127.0.0.1"},
		{"this host has no name, no manager", none, "127.0.0.1", names("home", Prohibit), "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := dialer(t, test.path)
			d.Selection = test.selection
			from := func(nc net.Conn, err error) (string, error) {
				if err != nil {
					return "", err
				}
				_ = nc.Close()
				return (<-srv.peers).String(), nil
			}
			address := test.host + ":" + srv.port
			for name, connect := range map[string]func() (string, error){
				"Dialer": func() (string, error) { return from(d.DialContext(t.Context(), "tcp", address)) },
				"Pool": func() (string, error) {
					c, err := (&Pool{Dialer: d}).Get(t.Context(), "tcp", address)
					if err != nil {
						return "", err
					}
					return from(c, nil)
				},
				"Endpoints": func() (string, error) {
					dec, err := d.Decide(t.Context(), "tcp", address)
					if err != nil {
						return "", err
					}
					list, err := dec.Endpoints(t.Context())
					if err != nil {
						return "", err
					}
					for _, e := range list {
						if test.selection.Strict() && e.Source.IsValid() && len(e.Options) == 0 {
							t.Errorf("%v is not bound to an interface", e.Source)
						}
					}
					if !list[0].Source.IsValid() {
						return "127.0.0.1", nil
					}
					return list[0].Source.String(), nil
				},
			} {
				got, err := connect()
				if got != test.from || (test.from == "") != errors.Is(err, ErrNotPermitted) {
					t.Errorf("%s: from %q (%v), want %q", name, got, err, test.from)
				}
			}
		})
	}
	select {
	case peer := <-srv.peers:
		t.Errorf("a connection from %v", peer)
	default:
	}
	// Daemons that do not know the tag are not sent it. The original would lose its
	// place in the stream.
	for name, f := range map[string]*fakeDaemon{"older": older, "original": original, "newest": newest} {
		for _, m := range f.requests() {
			if len(m.Selection) > 0 != (f == newest && m.Action != wire.ActionResolveRequest && m.Action != wire.ActionReportRequest) {
				t.Errorf("%s: %v with %v", name, m.Action, m.Selection)
			}
		}
	}
}

// If the manager knows no permitted network, every call fails. That is neither a
// refusal by the policy nor a plain dial.
func TestSelectionLeavesNone(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, func(m *wire.Message) bool {
		refuses(m)
		m.Only |= wire.OnlySelected
		return true
	})
	d := dialer(t, f.path)
	d.Selection = names("home", Require)
	pool := &Pool{Dialer: d}
	for name, call := range map[string]func(address string) error{
		"DialContext": func(a string) error { _, err := d.DialContext(t.Context(), "tcp", a); return err },
		"Decide":      func(a string) error { _, err := d.Decide(t.Context(), "tcp", a); return err },
		"Pool.Get":    func(a string) error { _, err := pool.Get(t.Context(), "tcp", a); return err },
	} {
		err := call("host.test:" + srv.port)
		var failed *DialError
		if !errors.Is(err, ErrNotPermitted) || errors.Is(err, ErrRefused) || !errors.As(err, &failed) || !strings.Contains(err.Error(), "require network home") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := d.Daemon.PlainDials(); n != (PlainDials{}) {
		t.Errorf("plain dials: %+v", n)
	}
}

// With a selection by name or cost, a Pool uses a connection again only if the manager
// says so, because the cost of a network may have changed.
func TestSelectionReuse(t *testing.T) {
	srv := startServer(t)
	home := names("home", Require)
	reuse := false
	f := startFake(t, "", false, func(m *wire.Message) bool {
		if reuse && m.Action == wire.ActionSocketChooseRequest && len(m.Sockets) > 0 {
			return reuseFirst(m)
		}
		return twoNetworks(m)
	})
	p := &Pool{Dialer: dialer(t, f.path), ReuseFirst: true}
	defer p.CloseIdle()
	get := func(p *Pool, want bool) {
		t.Helper()
		c, err := p.Get(WithSelection(t.Context(), home), "tcp", "127.0.0.1:"+srv.port)
		if err != nil {
			t.Fatal(err)
		}
		if c.Reused() != want {
			t.Errorf("reused %v, want %v", c.Reused(), want)
		}
		_ = c.Release()
	}
	get(p, false)
	get(p, false) // the manager prefers another network
	reuse = true
	get(p, true)
	f.stop()
	_ = p.Dialer.Daemon.Close()
	if c, err := p.Get(WithSelection(t.Context(), home), "tcp", "127.0.0.1:"+srv.port); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("without the manager: %v, %v", c, err)
	}

	// A manager that does not know the selection cannot tell that it is kept.
	old := startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action == wire.ActionSocketChooseRequest && len(m.Sockets) > 0 {
			return reuseFirst(m)
		}
		return twoNetworks(m)
	})
	old.lacks = wire.FeatureSelection
	q := &Pool{Dialer: dialer(t, old.path)}
	defer q.CloseIdle()
	_ = must(t, q, "127.0.0.1:"+srv.port, false).Release()
	if c, err := q.Get(WithSelection(t.Context(), home), "tcp", "127.0.0.1:"+srv.port); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("an older manager: %v, %v", c, err)
	}
}

func TestSelectionPropertiesByManager(t *testing.T) {
	s := names("home", Require, CostExpensive, Prohibit, CostMetered, Avoid).WithInterface("home", Prefer)
	if got, want := s.String(), "prefer home, require network home, prohibit cost expensive, avoid cost metered"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s.Network("home") != Require || s.Interface("home") != Prefer || s.Cost(CostExpensive) != Prohibit || s.Cost(CostFree) != NoPreference || s.Network("x") != NoPreference {
		t.Errorf("%v", s)
	}
	if s != s.WithNetwork("x", Prefer).WithNetwork("x", NoPreference) || s == s.WithNetwork("x", Prefer) {
		t.Error("the same is not equal, or another is")
	}
	if got := names("home", Avoid, CostFree, Prefer).Merge(s).String(); got != "prefer home, avoid network home, prohibit cost expensive, prefer cost free, avoid cost metered" {
		t.Errorf("merged: %q", got)
	}
	// A name may be anything. A name with characters of the encoding must not be taken
	// for another one.
	for _, odd := range []string{"a/b", "1:a", "", "\x00\xff:", strings.Repeat("9", 300)} {
		s := selected(odd, Require).WithNetwork(odd, Prohibit)
		if s.Interface(odd) != Require || s.Network(odd) != Prohibit || !s.Strict() || s.permits(site{device: "eth0", vouched: true}) == nil {
			t.Errorf("%q: %v", odd, s)
		}
	}
}

// If the selection is too large for the manager, the result is an error, and nothing is
// dialled.
func TestSelectionTooLarge(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, twoNetworks)
	var many SelectionProperties
	for i := range wire.MaxPreferences + 1 {
		many = many.WithNetwork(fmt.Sprint(i), Avoid)
	}
	for want, s := range map[string]SelectionProperties{
		"selection properties: more than 32 preferences":      many,
		"selection properties: a name of more than 255 bytes": names(strings.Repeat("x", 256), Require),
	} {
		_, err := dialer(t, f.path).DialContext(WithSelection(t.Context(), s), "tcp", "127.0.0.1:"+srv.port)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if len(f.requests()) > 0 {
		t.Error("the manager was asked")
	}
}

// A late answer serves only a dial with the same selection.
func TestSelectionIsOfTheSpare(t *testing.T) {
	d := &Dialer{}
	keys := map[spareKey]bool{}
	for _, s := range []SelectionProperties{{}, names("home", Require), names("home", Prefer), names(CostFree, Require), selected("home", Require)} {
		target, ok, err := d.newTarget(WithSelection(t.Context(), s), "tcp", "192.0.2.1:80")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		keys[*target.spareKey(nil)] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d keys of 5 questions", len(keys))
	}
}
