package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// refuses answers that the policy permits no connection.
func refuses(m *wire.Message) bool {
	suggest("127.0.0.2")(m)
	m.Only, m.Reason = wire.OnlyThese|wire.OnlyNone, "not at night"
	m.Context.BindSuggested, m.Alternates = wire.SockAddr{}, nil
	return true
}

// confined suggests 127.0.0.2, then 127.0.0.3, and permits nothing else.
func confined(m *wire.Message) bool {
	suggest("127.0.0.2", "127.0.0.3")(m)
	m.Only = wire.OnlyThese
	return true
}

// A refusal is an error of every call. Nothing is dialled, not even plainly.
func TestRefused(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, refuses)
	d := dialer(t, f.path)
	pool := &Pool{Dialer: d}
	for name, call := range map[string]func(address string) error{
		"DialContext": func(a string) error { _, err := d.DialContext(t.Context(), "tcp", a); return err },
		"UDP":         func(a string) error { _, err := d.DialContext(t.Context(), "udp", a); return err },
		"Decide":      func(a string) error { _, err := d.Decide(t.Context(), "tcp", a); return err },
		"Pool.Get":    func(a string) error { _, err := pool.Get(t.Context(), "tcp", a); return err },
		"Pool.GetNew": func(a string) error { _, err := pool.GetNew(t.Context(), "tcp", a); return err },
	} {
		for _, host := range []string{"127.0.0.1", "host.test"} {
			err := call(net.JoinHostPort(host, srv.port))
			var failed *DialError
			if !errors.Is(err, ErrRefused) || !errors.As(err, &failed) || !strings.HasSuffix(err.Error(), "refused by the policy: not at night") || failed.Timeout() {
				t.Errorf("%s %s: %v", name, host, err)
			}
		}
	}
	select {
	case peer := <-srv.peers:
		t.Errorf("a connection from %v", peer)
	default:
	}
}

// A refusal also covers idle connections.
func TestRefusedReuse(t *testing.T) {
	srv := startServer(t)
	refuse := false
	f := startFake(t, "", false, func(m *wire.Message) bool {
		if refuse {
			return refuses(m)
		}
		return suggest("127.0.0.2")(m)
	})
	p := &Pool{Dialer: dialer(t, f.path)}
	c, err := p.Get(t.Context(), "tcp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Release()
	refuse = true
	if c, err = p.Get(t.Context(), "tcp", "127.0.0.1:"+srv.port); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, %v", c, err)
	}
	p.CloseIdle()
}

// If only the candidates are permitted, they are tried, and nothing after them.
func TestConfined(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, confined)
	d := dialer(t, f.path)
	conn, err := d.DialContext(t.Context(), "tcp", "host.test:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if peer := (<-srv.peers).String(); peer != "127.0.0.2" {
		t.Errorf("from %s", peer)
	}
	_, err = d.DialContext(t.Context(), "tcp", "127.0.0.1:"+closedPort(t))
	var failed *DialError
	if !errors.As(err, &failed) || len(failed.Attempts) != 2 {
		t.Fatalf("error %v", err)
	}
	for i, a := range failed.Attempts {
		if a.Candidate != Candidate(i) {
			t.Errorf("attempt %d is candidate %v", i, a.Candidate)
		}
	}
	dec, err := d.Decide(t.Context(), "tcp", "host.test:"+srv.port)
	if err != nil || !dec.Only() || dec.Multipath() {
		t.Fatalf("%+v, %v", dec, err)
	}
	list, err := dec.Endpoints(t.Context())
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, e := range list {
		if !e.Source.IsValid() {
			t.Errorf("a plain endpoint: %+v", e)
		}
	}
}

// The manager dies between its answer and the lookup. The name is then not looked up
// over any other network, and not dialled plainly.
func TestConfinedManagerDies(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, confined)
	d := dialer(t, f.path)
	dec, err := d.Decide(t.Context(), "tcp", "host.test:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	f.stop()
	_ = d.Daemon.Close()
	d.Net.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("the host's resolver is asked")
		return nil, errors.New("no")
	}}
	if conn, err := dec.Dial(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("%v, %v", conn, err)
	}
}
