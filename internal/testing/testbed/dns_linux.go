package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Zone is what a DNS server knows. For each owner name it has records in the form of
// zone files, without the owner: {"www.example.net": {"60 IN A 192.0.2.1", "AAAA
// 2001:db8:ffff::1"}}. Names are fully qualified. The default TTL is 60 seconds.
type Zone map[string][]string

// Query is a question that a DNS server was asked.
type Query struct {
	Time    time.Time
	Name    string // lower case, with the final dot
	Type    uint16 // as in package dns
	Network string // "udp" or "tcp"
	Local   netip.AddrPort
	Remote  netip.AddrPort
}

// maxRecords limits what servers remember, for programs that run for long.
const maxRecords = 1 << 16

// DNSServer answers from a Zone and remembers the queries. Names outside the zone do
// not exist.
type DNSServer struct {
	handler atomic.Pointer[dns.Handler]
	servers []*dns.Server

	mu      sync.Mutex
	zone    map[dnsKey][]dns.RR
	names   map[string]bool
	queries []Query
}

type dnsKey struct {
	name string
	typ  uint16
}

// serveDNS starts a server on port 53 of the addresses, over UDP and TCP.
func serveDNS(n *Namespace, addrs []netip.Addr, zone Zone) (*DNSServer, error) {
	s := &DNSServer{}
	if err := s.SetZone(zone); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		// There is one socket for each address, so that the server knows which address
		// was asked.
		address := netip.AddrPortFrom(a, 53).String()
		l, err := n.Listen("tcp", address)
		if err != nil {
			return s, fmt.Errorf("DNS server of %s: %w", n.name, err)
		}
		s.start(&dns.Server{Listener: l, Handler: s})
		c, err := n.ListenPacket("udp", address)
		if err != nil {
			return s, fmt.Errorf("DNS server of %s: %w", n.name, err)
		}
		s.start(&dns.Server{PacketConn: c, Handler: s})
	}
	return s, nil
}

func (s *DNSServer) start(server *dns.Server) {
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	s.servers = append(s.servers, server)
	go func() { _ = server.ActivateAndServe() }() // ends with Shutdown
	<-started
}

func (s *DNSServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, server := range s.servers {
		_ = server.ShutdownContext(ctx)
	}
}

// SetZone replaces the zone.
func (s *DNSServer) SetZone(zone Zone) error {
	records := map[dnsKey][]dns.RR{}
	names := map[string]bool{}
	for owner, list := range zone {
		owner = dns.CanonicalName(owner)
		names[owner] = true
		for _, text := range list {
			rr, err := dns.NewRR("$TTL 60\n" + owner + " " + text)
			if err == nil && rr == nil {
				err = errors.New("empty record")
			}
			if err != nil {
				return fmt.Errorf("record %q of %s: %w", text, owner, err)
			}
			key := dnsKey{owner, rr.Header().Rrtype}
			records[key] = append(records[key], rr)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone, s.names = records, names
	return nil
}

// SetHandler lets h answer in place of the zone. nil returns to the zone. Queries are
// remembered in both cases.
func (s *DNSServer) SetHandler(h dns.Handler) {
	if h == nil {
		s.handler.Store(nil)
		return
	}
	s.handler.Store(&h)
}

// Queries returns the queries so far, in the order in which they came.
func (s *DNSServer) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// Forget empties the list of queries.
func (s *DNSServer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = nil
}

// ServeDNS implements dns.Handler.
func (s *DNSServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	s.remember(w, r)
	if h := s.handler.Load(); h != nil {
		(*h).ServeDNS(w, r)
		return
	}
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	m.RecursionAvailable = true
	if len(r.Question) == 1 {
		m.Answer, m.Rcode = s.lookup(r.Question[0])
	} else {
		m.Rcode = dns.RcodeFormatError
	}
	size := dns.MinMsgSize
	if opt := r.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		m.SetEdns0(1232, false)
	}
	if w.LocalAddr().Network() == "udp" {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // if this fails, the client asks again
}

func (s *DNSServer) remember(w dns.ResponseWriter, r *dns.Msg) {
	q := Query{Time: time.Now(), Network: w.LocalAddr().Network()}
	if len(r.Question) > 0 {
		q.Name, q.Type = dns.CanonicalName(r.Question[0].Name), r.Question[0].Qtype
	}
	// Both have the form address:port, because the sockets have addresses.
	q.Local, _ = netip.ParseAddrPort(w.LocalAddr().String())
	q.Remote, _ = netip.ParseAddrPort(w.RemoteAddr().String())
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queries) < maxRecords {
		s.queries = append(s.queries, q)
	}
}

// lookup answers a question from the zone. It follows aliases within the zone.
func (s *DNSServer) lookup(q dns.Question) ([]dns.RR, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer []dns.RR
	name := dns.CanonicalName(q.Name)
	if !s.names[name] {
		return nil, dns.RcodeNameError
	}
	for range 8 { // ends loops of aliases
		if rrs := s.zone[dnsKey{name, q.Qtype}]; len(rrs) > 0 {
			return append(answer, rrs...), dns.RcodeSuccess
		}
		alias := s.zone[dnsKey{name, dns.TypeCNAME}]
		if len(alias) == 0 {
			break
		}
		answer = append(answer, alias[0])
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	return answer, dns.RcodeSuccess
}

// String returns text such as "A www.example.net. from 10.1.0.2:4711 over udp".
func (q Query) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s from %s over %s", dns.TypeToString[q.Type], q.Name, q.Remote, q.Network)
	return b.String()
}
