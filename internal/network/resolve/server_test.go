package resolve

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// server is a real name server on a loopback address, UDP and TCP.
type server struct {
	addr netip.AddrPort
	udp  net.PacketConn

	mu      sync.Mutex
	queries []query
}

// query is a query that a server has received.
type query struct {
	Name  string
	Qtype uint16
	Net   string
	From  netip.Addr
}

// handler answers a query, or leaves it unanswered.
type handler func(w dns.ResponseWriter, q *dns.Msg)

// serve starts a server on ip and stops it with the test.
func serve(t testing.TB, ip string, h handler) *server {
	t.Helper()
	s := &server{}
	tcp := s.listen(t, ip)
	mux := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		from := addrPort(w.RemoteAddr())
		s.mu.Lock()
		s.queries = append(s.queries, query{q.Question[0].Name, q.Question[0].Qtype, w.RemoteAddr().Network(), from.Addr()})
		s.mu.Unlock()
		h(w, q)
	})
	for _, d := range []*dns.Server{{PacketConn: s.udp, Handler: mux}, {Listener: tcp, Handler: mux}} {
		ready, done := make(chan struct{}), make(chan struct{})
		d.NotifyStartedFunc = func() { close(ready) }
		go func() {
			defer close(done)
			if err := d.ActivateAndServe(); err != nil {
				t.Errorf("name server: %v", err)
			}
		}()
		<-ready
		t.Cleanup(func() {
			if err := d.Shutdown(); err != nil {
				t.Errorf("stopping name server: %v", err)
			}
			<-done
		})
	}
	return s
}

// listen finds a port that is free for both UDP and TCP.
func (s *server) listen(t testing.TB, ip string) net.Listener {
	t.Helper()
	var err error
	for range 10 {
		if s.udp, err = net.ListenPacket("udp", net.JoinHostPort(ip, "0")); err != nil {
			t.Fatal(err)
		}
		s.addr = addrPort(s.udp.LocalAddr())
		var l net.Listener
		if l, err = net.Listen("tcp", s.addr.String()); err == nil {
			return l
		}
		_ = s.udp.Close()
	}
	t.Fatal(err)
	return nil
}

func (s *server) asked() []query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]query(nil), s.queries...)
}

func addrPort(a net.Addr) netip.AddrPort {
	p := netip.MustParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// zone answers from records in zone file syntax, by name and type. If a name lacks the
// type, it adds the SOA. For other names it answers NXDOMAIN, with the SOA.
func zone(t testing.TB, records ...string) handler {
	t.Helper()
	byName := map[string][]dns.RR{}
	var soa []dns.RR
	for _, s := range records {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := rr.(*dns.SOA); ok {
			soa = append(soa, rr)
			continue
		}
		byName[rr.Header().Name] = append(byName[rr.Header().Name], rr)
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q)
		rrs, ok := byName[dns.CanonicalName(q.Question[0].Name)]
		for _, rr := range rrs {
			if h := rr.Header(); h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		if len(m.Answer) == 0 {
			m.Ns = soa
		}
		if !ok {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	}
}

// response makes a response with rrs as answers, as a recursive server sends it that knows
// EDNS.
func response(q *dns.Msg, rrs ...dns.RR) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	m.Answer = rrs
	if q.IsEdns0() != nil {
		m.SetEdns0(ednsSize, false)
	}
	return m
}

func rcode(code int) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q)
		m.Rcode = code
		_ = w.WriteMsg(m)
	}
}

func mute(dns.ResponseWriter, *dns.Msg) {}

func rr(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// patience is the time-out of tests in which every server answers that is waited for.
// impatience is the time-out of tests that wait for one which does not.
const (
	patience   = 20 * time.Second
	impatience = 100 * time.Millisecond
)

// resolver makes a Resolver that reads none of the host's files and waits for both
// families.
func resolver(t testing.TB, cfg Config, servers ...*server) *Resolver {
	t.Helper()
	for _, s := range servers {
		cfg.Servers = append(cfg.Servers, s.addr)
	}
	if cfg.HostsFile == "" {
		cfg.HostsFile = os.DevNull
	}
	if cfg.ResolvConf == "" && len(cfg.Servers) == 0 {
		cfg.ResolvConf = os.DevNull
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	if cfg.hostname == nil {
		cfg.hostname = func() (string, error) { return "laptop", nil }
	}
	if cfg.ResolutionDelay == 0 {
		cfg.ResolutionDelay = -1
	}
	r := New(cfg, slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

type testLog struct{ testing.TB }

func (l testLog) Write(p []byte) (int, error) { l.Logf("%s", p); return len(p), nil }

// clock is a clock that the test moves.
type clock struct{ nanoseconds atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_000_000, c.nanoseconds.Load()) }
func (c *clock) advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// lookup fails the test unless the name is found.
func lookup(t testing.TB, r *Resolver, host string, family policy.Family) Answer {
	t.Helper()
	a, err := r.Lookup(context.Background(), host, family)
	if err != nil {
		t.Fatalf("Lookup(%q, %v): %v", host, family, err)
	}
	return a
}

// lookupError fails the test unless the lookup fails.
func lookupError(t testing.TB, r *Resolver, host string, family policy.Family) *Error {
	t.Helper()
	a, err := r.Lookup(context.Background(), host, family)
	if err == nil {
		t.Fatalf("Lookup(%q, %v) = %+v, want an error", host, family, a)
	}
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("Lookup(%q, %v): error is a %T, want *Error: %v", host, family, err, err)
	}
	if e.Host != host || e.Err == nil {
		t.Errorf("Lookup(%q, %v): incomplete error %#v", host, family, e)
	}
	return e
}
