package mam

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chooser is a policy that is a function.
type chooser func(*policy.Request) policy.Decision

func (f chooser) Choose(r *policy.Request) policy.Decision { return f(r) }

// takeFirst chooses the first candidate, with the others as alternates.
var takeFirst = chooser(func(r *policy.Request) policy.Decision {
	if len(r.Prefixes) == 0 {
		return policy.Decision{Reason: "no candidate"}
	}
	return policy.Decision{Prefix: r.Prefixes[0], Alternates: r.Prefixes[1:], Reason: "first"}
})

func prefix(iface string, index int, addr string) *policy.Prefix {
	p := netip.MustParsePrefix(addr)
	return &policy.Prefix{
		ID:        policy.PrefixID{Interface: iface, Prefix: p.Masked()},
		Interface: iface, Index: index, CIDR: p.Masked(), Addrs: []netip.Addr{p.Addr()},
	}
}

// table is a resolver that answers from a map.
type table map[string][]netip.Addr

func (t table) Lookup(_ context.Context, host string, f policy.Family) (Result, error) {
	var a Result
	for _, ip := range t[host] {
		if f == policy.Unspecified || policy.FamilyOf(ip) == f {
			a.Addrs = append(a.Addrs, ip)
		}
	}
	if len(a.Addrs) == 0 {
		return a, ErrNotFound
	}
	return a, nil
}

// nets is a Routes that is a map from prefix to interface index.
type nets map[netip.Prefix]int

func (n nets) Reach(f Flow) Reach {
	for p, index := range n {
		if p.Contains(f.Dst) {
			return Reach{Specific: true, Index: index}
		}
	}
	return Reach{}
}

// known is a Destinations that knows one address.
type known struct {
	id    policy.PrefixID
	addr  netip.Addr
	stats policy.PathStats
}

func (k known) Destination(id policy.PrefixID, a netip.Addr) policy.PathStats {
	if id == k.id && a == k.addr {
		return k.stats
	}
	return policy.PathStats{}
}

// host returns a View with two networks of two families each. wlan0 is the default.
func host(p policy.Policy) *View {
	v := &View{
		Prefixes: []*policy.Prefix{
			prefix("wlan0", 2, "10.77.1.1/24"), prefix("wwan0", 3, "10.77.2.1/24"),
			prefix("wlan0", 2, "fd77:1::1/64"), prefix("wwan0", 3, "fd77:2::1/64"),
		},
		Routes: nets{
			netip.MustParsePrefix("127.0.0.0/8"): 0, netip.MustParsePrefix("10.77.2.0/24"): 3, netip.MustParsePrefix("172.17.0.0/16"): 9,
		},
		Resolver: table{
			"host.test": addrs("192.0.2.1", "2001:db8::1"), "four.test": addrs("192.0.2.4"), "six.test": addrs("2001:db8::6"),
			"localhost": addrs("127.0.0.1"), "lan.test": addrs("10.77.2.9"),
		},
	}
	v.Prefixes[0].Default = true
	if p != nil {
		v.Runner = NewRunner("test", p, slog.New(slog.DiscardHandler))
	}
	return v
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// daemon is a Manager that serves a socket until the test ends.
type daemon struct {
	*Manager
	path string
	stop func() // ends the daemon before the test ends; queued lines are written then
}

func start(t testing.TB, v *View, opts Options) *daemon {
	t.Helper()
	m := New(opts)
	m.Publish(v)
	l, err := unixsocket.Listen(filepath.Join(t.TempDir(), "mamma.sock"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	s := NewServer(m)
	tasks.Go(func() {
		if err := s.Serve(ctx, l.UnixListener); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	tasks.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
		_ = l.Close()
	})
	t.Cleanup(stop)
	return &daemon{Manager: m, path: l.Path(), stop: stop}
}

// client is a connection that speaks the protocol.
type client struct {
	t testing.TB
	net.Conn
	r *wire.Reader
}

func (d *daemon) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("unix", d.path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return &client{t: t, Conn: c, r: wire.NewReader(c)}
}

func (c *client) ask(req *wire.Message) *wire.Message {
	c.t.Helper()
	b, err := req.Append(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
	return c.read()
}

func (c *client) read() *wire.Message {
	c.t.Helper()
	var m wire.Message
	if err := c.r.Read(&m); err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return &m
}

func sockAddr(s string) wire.SockAddr { return wire.SockAddr{AddrPort: netip.MustParseAddrPort(s)} }

func connectTo(remote string) *wire.Message {
	a := sockAddr(remote)
	m := &wire.Message{Action: wire.ActionConnectRequest, Context: wire.Context{
		Calls: wire.CallSocket | wire.CallConnect, Domain: domain(policy.FamilyOf(a.AddrPort.Addr())), Type: wire.SockStream, Remote: a,
	}}
	return m
}

func socketConnectTo(host, service string) *wire.Message {
	return &wire.Message{Action: wire.ActionSocketConnectRequest, Context: wire.Context{
		Type: wire.SockStream, Hostname: host, Service: service, Hint: []wire.AddrInfo{{Type: wire.SockStream}},
	}}
}
