package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// fakeDaemon is a daemon on a real Unix socket that follows a script. It uses the real
// encoding.
type fakeDaemon struct {
	path string
	// answer turns a request into its answer. If it returns false, no answer is sent.
	// The daemon itself handles the greeting and the context id.
	answer   func(m *wire.Message) bool
	original bool          // speaks no extensions
	lacks    wire.Features // extensions that it does not speak

	ln    net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]bool
	seen  []wire.Message // requests, without greetings
	met   int            // greetings
	down  bool
}

func startFake(t testing.TB, path string, original bool, answer func(m *wire.Message) bool) *fakeDaemon {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "mamma.sock")
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeDaemon{path: path, answer: answer, original: original, ln: ln, conns: make(map[net.Conn]bool)}
	f.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[nc] = true
			if f.down {
				_ = nc.Close()
			}
			f.mu.Unlock()
			f.wg.Go(func() { f.serve(nc) })
		}
	})
	t.Cleanup(f.stop)
	return f
}

// stop ends the daemon as if it were killed.
func (f *fakeDaemon) stop() {
	_ = f.ln.Close()
	f.mu.Lock()
	f.killLocked()
	f.mu.Unlock()
	f.wg.Wait()
}

// killLocked is stop for scripts, which run with the lock held.
func (f *fakeDaemon) killLocked() {
	_ = f.ln.Close()
	f.down = true
	for nc := range f.conns {
		_ = nc.Close()
	}
}

func (f *fakeDaemon) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := wire.NewReader(nc)
	id := uuid.New()
	for {
		var m wire.Message
		if err := r.Read(&m); err != nil {
			return
		}
		f.mu.Lock()
		if m.Action == wire.ActionErrorUnknownRequest {
			f.met++
		} else {
			c := m
			c.Context = m.Context.Clone()
			f.seen = append(f.seen, c)
			if !f.answer(&m) {
				f.mu.Unlock()
				continue
			}
		}
		f.mu.Unlock()
		m.Context.ID = id
		m.Features, m.NoResolve, m.Origin, m.Selection = 0, false, nil, nil
		if !f.original {
			m.Features = features &^ f.lacks
		}
		b, err := m.Append(nil)
		if err != nil {
			return
		}
		if _, err := nc.Write(b); err != nil {
			return
		}
	}
}

// requests returns the requests so far.
func (f *fakeDaemon) requests() []wire.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]wire.Message(nil), f.seen...)
}

// greetings returns how many connections have sent a greeting.
func (f *fakeDaemon) greetings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met
}

// dialer returns a Dialer that asks the daemon at path.
func dialer(t testing.TB, path string) *Dialer {
	// The tests share two cores with others, so a delay of half a second means nothing.
	d := &Dialer{Daemon: &Daemon{Path: path, DecisionTimeout: 5 * time.Second}}
	// Names that are not in /etc/hosts must not be looked up outside.
	d.Net.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errTest }}
	t.Cleanup(func() { _ = d.Daemon.Close() })
	return d
}

func local(s string) wire.SockAddr {
	return wire.SockAddr{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(s), 0)}
}

var decisionID = uuid.UUID{7}

// suggest answers requests for decisions with the source address bind and the
// alternates.
func suggest(bind string, alternates ...string) func(*wire.Message) bool {
	return func(m *wire.Message) bool {
		switch m.Action {
		case wire.ActionReportRequest:
			m.Action = wire.ActionReportResponse
			return true
		case wire.ActionResolveRequest:
			m.Action = wire.ActionResolveResponse
			m.Context.Result = resolve(m, "127.0.0.1")
			return true
		case wire.ActionSocketChooseRequest:
			m.Action = wire.ActionSocketChooseNew
		case wire.ActionSocketConnectRequest:
			m.Action = wire.ActionSocketConnectResponse
		}
		m.Context.BindSuggested = local(bind)
		m.Context.Protocol = wire.ProtoTCP
		m.Reason = "because"
		m.DecisionID = decisionID
		for _, a := range alternates {
			m.Alternates = append(m.Alternates, wire.Alternate{Local: local(a), Protocol: wire.ProtoTCP})
		}
		return true
	}
}

// resolve returns a list like a daemon's resolver, with the port in the request.
func resolve(m *wire.Message, addrs ...string) []wire.AddrInfo {
	var list []wire.AddrInfo
	var port uint16
	for _, digit := range m.Context.Service {
		port = 10*port + uint16(digit-'0')
	}
	for _, a := range addrs {
		ip := netip.MustParseAddr(a)
		family := int32(wire.AFInet6)
		if ip.Is4() {
			family = wire.AFInet
		}
		list = append(list, wire.AddrInfo{
			Flags: -1 << 31, Family: family, Type: m.Context.Type, Protocol: wire.ProtoTCP,
			Addr: wire.SockAddr{AddrPort: netip.AddrPortFrom(ip, port)},
		})
	}
	return list
}

// server accepts connections on loopback and records the addresses that they come from.
type server struct {
	net.Listener
	port  string
	peers chan netip.Addr
}

func startServer(t testing.TB) *server {
	t.Helper()
	return startServerWith(t, true)
}

// startServerWith starts a server that accepts MPTCP or does not, if the kernel has
// MPTCP.
func startServerWith(t testing.TB, multipath bool) *server {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	ln, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	s := &server{ln, port, make(chan netip.Addr, 100)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			select {
			case s.peers <- addrPort(nc.RemoteAddr()).Addr():
			default: // a benchmark does not look
			}
			wg.Go(func() {
				_, _ = io.Copy(nc, nc)
				_ = nc.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return s
}

// dialServer dials s by name. It returns the connection's Info and the source address
// that the server saw.
func dialServer(t *testing.T, d *Dialer, s *server, host string) (Info, string) {
	t.Helper()
	nc, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, s.port))
	if err != nil {
		t.Fatal(err)
	}
	info, ok := InfoOf(nc)
	if !ok {
		t.Error("connection without Info")
	}
	if err := nc.Close(); err != nil {
		t.Error(err)
	}
	return info, (<-s.peers).String()
}

// closedPort returns a port of loopback that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	return port
}

// capture returns a recorded answer of the original daemon.
func capture(t *testing.T, name string) *wire.Message {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "internal", "wire", "testdata", "captures", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	if err := wire.Decode(b, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

var errTest = errors.New("test")

func noDaemon(context.Context) (net.Conn, error) { return nil, errTest }
