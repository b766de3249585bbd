package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

func TestDialFollowsDecision(t *testing.T) {
	s := startServer(t)
	f := startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3"))
	d := dialer(t, f.path)
	d.Intents = intent.Set{}.WithCategory(intent.CategoryQuery).WithFileSize(1000)
	ctx := intent.NewContext(t.Context(), intent.Set{}.WithFileSize(300<<30))

	nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort("host.test", s.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	info, _ := InfoOf(nc)
	if peer := (<-s.peers).String(); peer != "127.0.0.2" || info.Local.Addr().String() != peer {
		t.Errorf("the server saw %v, info says %v, want the suggestion", peer, info.Local)
	}
	if !info.Decided || info.Candidate != 0 || info.Reason != "because" || info.ID != DecisionID(decisionID) {
		t.Errorf("info %+v", info)
	}
	if _, ok := nc.(interface{ CloseWrite() error }); !ok {
		t.Error("a method of *net.TCPConn is lost")
	}
	_ = d.Daemon.Close() // waits for a report under way

	reqs := f.requests()
	if len(reqs) < 2 {
		t.Fatalf("%d requests, want decision and resolution", len(reqs))
	}
	decision, resolution := reqs[0], reqs[1]
	if decision.Action != wire.ActionSocketConnectRequest || !decision.NoResolve || decision.Context.Hostname != "host.test" {
		t.Errorf("decision asked by %+v", decision)
	}
	want := intent.Set{}.WithCategory(intent.CategoryQuery).WithFileSize(300 << 30)
	if got := decision.Intents(); got != want {
		t.Errorf("intents %q, want %q", got.String(), want.String())
	}
	if resolution.Action != wire.ActionResolveRequest || resolution.Context.BindSuggested != local("127.0.0.2") ||
		resolution.DecisionID != decisionID || resolution.Context.Hint[0].Family != wire.AFInet {
		t.Errorf("resolution asked by %+v", resolution)
	}
}

func TestDialReports(t *testing.T) {
	reported := make(chan *wire.Outcome, 4)
	answer := suggest("127.0.0.2")
	f := startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action == wire.ActionReportRequest {
			reported <- m.Outcome
		}
		return answer(m)
	})
	d := dialer(t, f.path)
	s := startServer(t)
	info, _ := dialServer(t, d, s, "127.0.0.1")
	if o := <-reported; o.Candidate != 0 || o.Errno != 0 || o.LocalPort != info.Local.Port() {
		t.Errorf("reported %+v, local address was %v", o, info.Local)
	}
	_, err := d.Dial("tcp", "127.0.0.1:"+closedPort(t))
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want refused", err)
	}
	for _, candidate := range []int32{0, int32(plain)} {
		if o := <-reported; o.Candidate != candidate || o.Errno != int32(syscall.ECONNREFUSED) {
			t.Errorf("reported %+v, want candidate %d refused", o, candidate)
		}
	}
}

// A program that makes its sockets itself reports the outcome.
func TestDecisionReports(t *testing.T) {
	reported := make(chan *wire.Outcome, 4)
	answer := suggest("127.0.0.2")
	f := startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action == wire.ActionReportRequest {
			reported <- m.Outcome
		}
		return answer(m)
	})
	d := dialer(t, f.path)
	for _, tt := range []struct {
		name    string
		network string
		outcome Outcome
		want    *wire.Outcome // nil: nothing is reported
	}{
		{"given up", "tcp", Outcome{Duration: time.Second, Err: context.Canceled}, nil},
		{"a datagram", "udp", Outcome{Duration: time.Second}, nil},
		{"connected", "tcp", Outcome{Duration: 7 * time.Millisecond, Local: netip.MustParseAddrPort("127.0.0.2:4711")}, &wire.Outcome{Milliseconds: 7, LocalPort: 4711}},
		{"connected by an alternate", "tcp", Outcome{Candidate: 1, Duration: time.Millisecond}, &wire.Outcome{Candidate: 1, Milliseconds: 1}},
		{"refused by an alternate", "tcp", Outcome{Candidate: 2, Err: syscall.ECONNREFUSED}, &wire.Outcome{Candidate: 2, Errno: int32(syscall.ECONNREFUSED)}},
		{"connected without a suggestion", "tcp", Outcome{Candidate: PlainDial}, &wire.Outcome{Candidate: int32(PlainDial)}},
		{"connected, plainly", "tcp", Outcome{PlainTCP: true}, &wire.Outcome{Flags: wire.OutcomePlainTCP}},
		{"refused", "tcp", Outcome{Err: &net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}, &wire.Outcome{Errno: int32(syscall.ECONNREFUSED)}},
	} {
		dec, err := d.Decide(t.Context(), tt.network, "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		dec.Report(tt.outcome)
		if tt.want == nil {
			continue // the report of the next one comes instead
		}
		if diff := cmp.Diff(tt.want, <-reported); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestDialErrorListsAttempts(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3"))
	d := dialer(t, f.path)
	port := closedPort(t)
	_, err := d.Dial("tcp", "127.0.0.1:"+port)
	var de *DialError
	if !errors.As(err, &de) || len(de.Attempts) != 3 {
		t.Fatalf("error %v, want one with 3 attempts", err)
	}
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" {
		t.Errorf("no net.OpError in %v", err)
	}
	for _, want := range []string{"from 127.0.0.2 to 127.0.0.1:", "from 127.0.0.3 to 127.0.0.1:", "plainly to 127.0.0.1:", "refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if de.Timeout() {
		t.Error("it was not a timeout")
	}
}

func TestDialFallsBackToAlternate(t *testing.T) {
	s := startServer(t)
	// 192.0.2.1 is not an address of this host, so binding to it fails.
	f := startFake(t, "", false, suggest("192.0.2.1", "127.0.0.3"))
	info, peer := dialServer(t, dialer(t, f.path), s, "host.test")
	if peer != "127.0.0.3" || info.Candidate != 1 || len(info.Attempts) != 1 || !errors.Is(info.Attempts[0].Err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from %s, info %+v", peer, info)
	}
}

func TestDialUnbindsUnreachable(t *testing.T) {
	s := startServer(t)
	answer := suggest("192.0.2.1")
	f := startFake(t, "", false, func(m *wire.Message) bool {
		answer(m)
		if m.Action == wire.ActionResolveResponse {
			m.Context.BindSuggested = wire.SockAddr{} // not reachable from there
		}
		return true
	})
	info, peer := dialServer(t, dialer(t, f.path), s, "host.test")
	if peer != "127.0.0.1" || info.Candidate != 0 || info.Source.IsValid() || len(info.Attempts) != 0 {
		t.Errorf("from %s, info %+v", peer, info)
	}
}

// A network's address cannot reach loopback. No attempt waits for such an address, no
// matter who has resolved the name.
func TestDialLoopbackUnbound(t *testing.T) {
	s := startServer(t)
	for _, original := range []bool{false, true} {
		f := startFake(t, "", original, func(m *wire.Message) bool {
			suggest("192.0.2.1")(m)
			if m.Action == wire.ActionResolveResponse {
				m.Context.Result = nil // left to the client
			} else if original {
				m.Context.Result, m.Alternates, m.Reason = resolve(m, "127.0.0.1"), nil, ""
			}
			return true
		})
		info, peer := dialServer(t, dialer(t, f.path), s, "localhost")
		if peer != "127.0.0.1" || info.Candidate != 0 || info.Source.IsValid() || len(info.Attempts) != 0 {
			t.Errorf("original %v: from %s, info %+v", original, peer, info)
		}
	}
}

// A dead resolver delays a dial once, however many candidates depend on it. The other
// candidates' resolvers are asked at the same time, over connections of their own.
func TestDialBesideDeadResolver(t *testing.T) {
	s := startServer(t)
	answer := suggest("127.0.0.2", "127.0.0.3", "127.0.0.4")
	var f *fakeDaemon
	dead := make(chan struct{}, 2) // lookups that get no answer
	f = startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action != wire.ActionResolveRequest {
			return answer(m)
		}
		if m.Context.BindSuggested != local("127.0.0.4") {
			select {
			case dead <- struct{}{}:
			default: // the resolver is asked again
			}
			return false
		}
		// The working resolver answers last. Otherwise its connection could win before
		// the others have asked.
		f.mu.Unlock()
		for range 2 {
			select {
			case <-dead:
			case <-t.Context().Done():
			}
		}
		f.mu.Lock()
		return answer(m)
	})
	d := dialer(t, f.path)
	d.ConnectionAttemptDelay = 20 * time.Millisecond
	if info, peer := dialServer(t, d, s, "host.test"); peer != "127.0.0.4" || info.Candidate != 2 {
		t.Errorf("from %s, info %+v", peer, info)
	}
	if n := f.greetings(); n < 3 {
		t.Errorf("%d connections to the daemon, want one for each lookup under way", n)
	}
}

// Once the name is resolved, the measurements of the path to the destination are better
// than those of the network.
func TestLookupMeasures(t *testing.T) {
	answer := suggest("127.0.0.2")
	f := startFake(t, "", false, func(m *wire.Message) bool {
		answer(m)
		switch m.Action {
		case wire.ActionSocketConnectResponse:
			m.Paths = []wire.Path{{Microseconds: 10_000}}
		case wire.ActionResolveResponse:
			m.Paths = []wire.Path{{Microseconds: 70_000, Health: wire.PathSuspect}}
			if m.Context.Hostname == "local.test" {
				m.Context.BindSuggested = wire.SockAddr{} // not reachable from there
			}
		}
		return true
	})
	d := dialer(t, f.path)
	for _, test := range []struct {
		address string
		rtt     time.Duration
		suspect bool
	}{
		{"192.0.2.1:80", 10 * time.Millisecond, false},
		{"far.test:80", 70 * time.Millisecond, true},
		{"local.test:80", 0, false},
	} {
		target, _, err := d.newTarget(t.Context(), "tcp", test.address)
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.daemon().decide(t.Context(), target, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.lookup(t.Context(), p, p.candidates[0])
		if err != nil || c.rtt != test.rtt || c.suspect != test.suspect {
			t.Errorf("%s: round trip %v, suspect %v (%v), want %v, %v", test.address, c.rtt, c.suspect, err, test.rtt, test.suspect)
		}
	}
}

func TestDialMultipath(t *testing.T) {
	if b, err := os.ReadFile("/proc/sys/net/mptcp/enabled"); err != nil || !bytes.HasPrefix(b, []byte("1")) {
		t.Skip("needs a kernel with MPTCP (CONFIG_MPTCP, net.mptcp.enabled=1)")
	}
	for _, spoken := range []bool{true, false} {
		s := startServerWith(t, spoken)
		outcomes := make(chan *wire.Outcome, 1)
		answer := suggest("127.0.0.2")
		f := startFake(t, "", false, func(m *wire.Message) bool {
			if m.Action == wire.ActionReportRequest {
				outcomes <- m.Outcome
			}
			answer(m)
			m.Context.Protocol = wire.ProtoMPTCP
			return true
		})
		nc, err := dialer(t, f.path).Dial("tcp", "127.0.0.1:"+s.port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		info, _ := InfoOf(tls.Client(nc, nil)) // InfoOf looks through wrappers
		if !info.Multipath || info.PlainTCP == spoken || info.Local.Addr().String() != "127.0.0.2" {
			t.Errorf("the peer speaks MPTCP %v: info %+v", spoken, info)
		}
		if mptcp, err := nc.(interface{ MultipathTCP() (bool, error) }).MultipathTCP(); err != nil || mptcp != spoken {
			t.Errorf("MPTCP %v (%v), want %v", mptcp, err, spoken)
		}
		if o := <-outcomes; o.Errno != 0 || o.Flags&wire.OutcomePlainTCP != 0 == spoken {
			t.Errorf("the peer speaks MPTCP %v: reported %+v", spoken, o)
		}
	}
}

func TestDialResolvesItself(t *testing.T) {
	for _, test := range []struct {
		name   string
		action wire.Action
		from   string
	}{
		{"the manager leaves it to us", wire.ActionResolveResponse, "127.0.0.2"},
		{"the manager cannot", wire.ActionErrorResolve, "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t)
			answer := suggest("127.0.0.2")
			f := startFake(t, "", false, func(m *wire.Message) bool {
				answer(m)
				if m.Action == wire.ActionResolveResponse {
					m.Action, m.Context.Result = test.action, nil
				}
				return true
			})
			if _, peer := dialServer(t, dialer(t, f.path), s, "localhost"); peer != test.from {
				t.Errorf("from %s, want %s", peer, test.from)
			}
		})
	}
}

func TestDialWithoutDaemon(t *testing.T) {
	s := startServer(t)
	var log bytes.Buffer
	d := &Dialer{Daemon: &Daemon{Path: t.TempDir() + "/none"}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		if info, peer := dialServer(t, d, s, "127.0.0.1"); peer != "127.0.0.1" || info.Decided || info.Candidate != plain || info.Err == nil {
			t.Errorf("from %s, info %+v", peer, info)
		}
	}
	if n := strings.Count(log.String(), "without the Multi Access Manager"); n != 1 {
		t.Errorf("said so %d times, want once:\n%s", n, &log)
	}
}

func TestDialWithoutDecision(t *testing.T) {
	s := startServer(t)
	for _, test := range []struct {
		name   string
		answer func(*wire.Message) bool
	}{
		{"unknown request", func(m *wire.Message) bool { m.Action = wire.ActionErrorUnknownRequest; return true }},
		{"not resolved", func(m *wire.Message) bool { m.Action = wire.ActionErrorResolve; return true }},
		{"existing socket", func(m *wire.Message) bool { m.Action = wire.ActionSocketChooseExisting; return true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := startFake(t, "", false, test.answer)
			if info, peer := dialServer(t, dialer(t, f.path), s, "127.0.0.1"); peer != "127.0.0.1" || info.Decided {
				t.Errorf("from %s, info %+v", peer, info)
			}
		})
	}
}

// These are recorded answers of an original daemon, with loopback addresses in place of
// the recorded ones.
func TestDialWithOriginalDaemon(t *testing.T) {
	for _, test := range []struct {
		capture   string
		from      string
		multipath bool
	}{
		{"socketconnect-v4-intents-resp", "127.0.0.2", false},
		{"fallback-resolve-resp", "127.0.0.2", false},
		{"fallback-noresolve-resp", "127.0.0.2", false}, // resolved by the client, and bound all the same
		{"nopolicy-socketconnect-resp", "127.0.0.1", false},
		{"socketconnect-fail-resp", "127.0.0.1", false},
		{"sockopts-suggested-resp", "127.0.0.1", true}, // option 42 means MPTCP
	} {
		t.Run(test.capture, func(t *testing.T) {
			s := startServer(t)
			f := startFake(t, "", true, func(m *wire.Message) bool {
				answer := capture(t, test.capture)
				if answer.Context.Remote.IsValid() {
					answer.Context.Result = resolve(m, "127.0.0.1")
					answer.Context.Remote = answer.Context.Result[0].Addr
				}
				if answer.Context.BindSuggested.IsValid() {
					answer.Context.BindSuggested = local("127.0.0.2")
				}
				*m = *answer
				return true
			})
			info, peer := dialServer(t, dialer(t, f.path), s, "localhost")
			if peer != test.from || info.Multipath != test.multipath {
				t.Errorf("from %s (MPTCP %v), want %s (%v)", peer, info.Multipath, test.from, test.multipath)
			}
			reqs := f.requests()
			if len(reqs) != 1 || reqs[0].NoResolve || reqs[0].DecisionID != [16]byte{} {
				t.Errorf("asked %+v, want one original exchange", reqs)
			}
		})
	}
}

func TestDialKeepsNetDialersRules(t *testing.T) {
	s := startServer(t)
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path)
	var controlled atomic.Int32
	d.Net.Control = func(network, address string, _ syscall.RawConn) error {
		controlled.Add(1)
		return nil
	}
	dialServer(t, d, s, "127.0.0.1")
	if controlled.Load() != 1 {
		t.Errorf("Control called %d times, want once", controlled.Load())
	}
	d.Net.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}
	if _, peer := dialServer(t, d, s, "127.0.0.1"); peer != "127.0.0.9" {
		t.Errorf("from %s, want the application's own address", peer)
	}
	_ = d.Daemon.Close()
	for _, m := range f.requests() {
		if m.Action == wire.ActionSocketConnectRequest && m.Context.BindRequested.AddrPort.Addr() == addrPort(d.Net.LocalAddr).Addr() {
			return
		}
	}
	t.Error("the daemon was not told of the application's own address")
}

func TestDialMandatoryOption(t *testing.T) {
	s := startServer(t)
	for _, test := range []struct {
		name  string
		flags wire.SockOptFlags
		from  string
	}{
		{"mandatory", 0, "127.0.0.1"},
		{"optional", wire.SockOptOptional, "127.0.0.2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := suggest("127.0.0.2")
			f := startFake(t, "", false, func(m *wire.Message) bool {
				answer(m)
				m.Context.OptionsSuggested = []wire.SockOpt{
					{Level: intent.Level, Name: 1, Value: []byte{1, 0, 0, 0}},
					{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte("nosuchdev0\x00"), Flags: test.flags},
				}
				return true
			})
			if _, peer := dialServer(t, dialer(t, f.path), s, "127.0.0.1"); peer != test.from {
				t.Errorf("from %s, want %s", peer, test.from)
			}
		})
	}
}

func TestDialUDP(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	nc, err := dialer(t, f.path).Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	if got := addrPort(nc.LocalAddr()).Addr().String(); got != "127.0.0.2" {
		t.Errorf("bound to %s, want the suggestion", got)
	}
	if typ := f.requests()[0].Context.Type; typ != wire.SockDgram {
		t.Errorf("asked for socket type %d", typ)
	}
}

func TestDialOtherNetworks(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path)
	nc, err := d.Dial("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
	if info, ok := InfoOf(nc); !ok || info.Decided || info.Err != nil {
		t.Errorf("info %+v", info)
	}
	for _, address := range []string{"nonsense", "host:nosuchservice", ":0:"} {
		if _, err := d.Dial("tcp", address); err == nil {
			t.Errorf("dialled %q", address)
		}
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests about what the manager does not decide", n)
	}
}

func TestDialTimeout(t *testing.T) {
	f := startFake(t, "", false, func(m *wire.Message) bool {
		return m.Action != wire.ActionResolveRequest && suggest("127.0.0.2")(m)
	})
	d := dialer(t, f.path)
	d.Net.Timeout = 200 * time.Millisecond
	_, err := d.Dial("tcp", "host.test:80")
	ne, ok := errors.AsType[net.Error](err)
	if !ok || !ne.Timeout() || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a timeout", err)
	}
}

func TestHTTPTransport(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		_, _ = w.Write([]byte(host))
	}))
	defer srv.Close()
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path)
	tr := &http.Transport{DialContext: d.DialContext}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil || body.String() != "127.0.0.2" {
		t.Errorf("the server saw %q (%v)", &body, err)
	}
}

func BenchmarkDial(b *testing.B) {
	bench := func(b *testing.B, d *Dialer) {
		s := startServer(b)
		b.ReportAllocs()
		for b.Loop() {
			nc, err := d.Dial("tcp", "127.0.0.1:"+s.port)
			if err != nil {
				b.Fatal(err)
			}
			_ = nc.(interface{ SetLinger(int) error }).SetLinger(0)
			_ = nc.Close()
		}
	}
	b.Run("plain", func(b *testing.B) { bench(b, &Dialer{Daemon: &Daemon{connect: noDaemon}}) })
	b.Run("decided", func(b *testing.B) { bench(b, dialer(b, startFake(b, "", false, suggest("127.0.0.2")).path)) })
}

// BenchmarkDecide measures the cost of asking, without dialling.
func BenchmarkDecide(b *testing.B) {
	d := dialer(b, startFake(b, "", false, suggest("127.0.0.2", "127.0.0.3")).path)
	ctx := intent.NewContext(b.Context(), intent.Set{}.WithCategory(intent.CategoryQuery))
	b.ReportAllocs()
	for b.Loop() {
		t, _, err := d.newTarget(ctx, "tcp", "192.0.2.1:443")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.daemon().decide(ctx, t, false, nil); err != nil {
			b.Fatal(err)
		}
	}
}
