package client

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// twoNetworks suggests 127.0.0.2 on interface a, with 127.0.0.3 on b beside it.
// What is bound to loopback goes by these names, and failing to bind it to an
// interface that is not there does no harm.
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

// A prohibited alternate is not raced, and an idle connection over a prohibited
// network is not used again.
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
