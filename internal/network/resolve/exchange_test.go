package resolve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// send sends an answer that mangle has changed.
func send(w dns.ResponseWriter, q *dns.Msg, answer dns.RR, mangle func(m *dns.Msg)) {
	m := response(q, answer)
	mangle(m)
	_ = w.WriteMsg(m)
}

// Messages that are not the response are skipped, and the response after them is found.
func TestForgedResponses(t *testing.T) {
	right, wrong := rr(t, "www.example.com. 300 IN A 192.0.2.1"), rr(t, "www.example.com. 300 IN A 198.51.100.66")
	tests := []struct {
		name string
		bad  handler
	}{
		{"wrong id", func(w dns.ResponseWriter, q *dns.Msg) { send(w, q, wrong, func(m *dns.Msg) { m.Id++ }) }},
		{"wrong name", func(w dns.ResponseWriter, q *dns.Msg) {
			send(w, q, wrong, func(m *dns.Msg) { m.Question[0].Name = "www.example.org." })
		}},
		{"wrong type", func(w dns.ResponseWriter, q *dns.Msg) {
			send(w, q, wrong, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
		}},
		{"wrong class", func(w dns.ResponseWriter, q *dns.Msg) {
			send(w, q, wrong, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
		}},
		{"no question", func(w dns.ResponseWriter, q *dns.Msg) { send(w, q, wrong, func(m *dns.Msg) { m.Question = nil }) }},
		{"two questions", func(w dns.ResponseWriter, q *dns.Msg) {
			send(w, q, wrong, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
		}},
		{"a query", func(w dns.ResponseWriter, q *dns.Msg) { send(w, q, wrong, func(m *dns.Msg) { m.Response = false }) }},
		{"other operation", func(w dns.ResponseWriter, q *dns.Msg) {
			send(w, q, wrong, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify })
		}},
		{"rubbish", func(w dns.ResponseWriter, q *dns.Msg) { _, _ = w.Write([]byte("rubbish, rubbish, rubbish")) }},
		{"empty", func(w dns.ResponseWriter, q *dns.Msg) { _, _ = w.Write(nil) }},
		{"cut off", func(w dns.ResponseWriter, q *dns.Msg) {
			m := response(q, wrong)
			m.Extra = nil
			data, _ := m.Pack()
			_, _ = w.Write(data[:len(data)-2])
		}},
		{"wrong source", func(w dns.ResponseWriter, q *dns.Msg) {
			conn, err := net.Dial("udp", w.RemoteAddr().String())
			if err != nil {
				t.Error(err)
				return
			}
			data, _ := response(q, wrong).Pack()
			_, _ = conn.Write(data)
			_ = conn.Close()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
				tt.bad(w, q)
				_ = w.WriteMsg(response(q, right))
			})
			r := resolver(t, Config{}, s)
			a := lookup(t, r, "www.example.com", policy.IPv4)
			if diff := cmp.Diff(addrs("192.0.2.1"), a.Addrs, addrEqual); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := len(s.asked()); n != 1 {
				t.Errorf("server was asked %d times", n)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	answer := rr(t, "www.example.com. 300 IN A 192.0.2.1")
	tests := []struct {
		name string
		udp  handler
	}{
		{"empty", func(w dns.ResponseWriter, q *dns.Msg) {
			m := response(q)
			m.Truncated = true
			_ = w.WriteMsg(m)
		}},
		{"in the middle of a record", func(w dns.ResponseWriter, q *dns.Msg) {
			m := response(q, answer)
			m.Truncated, m.Extra = true, nil
			data, _ := m.Pack()
			_, _ = w.Write(data[:len(data)-2])
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
				if w.RemoteAddr().Network() == "udp" {
					tt.udp(w, q)
					return
				}
				_ = w.WriteMsg(response(q, answer))
			})
			r := resolver(t, Config{}, s)
			lookup(t, r, "www.example.com", policy.IPv4)
			from := netip.MustParseAddr("127.0.0.1")
			want := []query{{"www.example.com.", dns.TypeA, "udp", from}, {"www.example.com.", dns.TypeA, "tcp", from}}
			if diff := cmp.Diff(want, s.asked(), addrEqual); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// An answer with hundreds of addresses comes over TCP, and is bounded.
func TestManyAddresses(t *testing.T) {
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q)
		for i := range 1000 {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   net.IPv4(10, 0, byte(i>>8), byte(i)),
			})
		}
		if w.RemoteAddr().Network() == "udp" {
			m.Truncate(ednsSize)
		}
		_ = w.WriteMsg(m)
	})
	r := resolver(t, Config{}, s)
	if a := lookup(t, r, "www.example.com", policy.IPv4); len(a.Addrs) != maxAddrs {
		t.Errorf("got %d addresses, want %d", len(a.Addrs), maxAddrs)
	}
}

func TestUseTCPOption(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, "www.example.com. 300 IN A 192.0.2.1"))
	r := resolver(t, Config{ResolvConf: write(t, "resolv.conf", fmt.Sprintf("nameserver %v\noptions use-vc", s.addr))})
	lookup(t, r, "www.example.com", policy.IPv4)
	if got := s.asked(); len(got) != 1 || got[0].Net != "tcp" {
		t.Errorf("asked %v", got)
	}
}

// A wrong response over TCP is an error. Nobody waits for another one after it.
func TestForgedTCP(t *testing.T) {
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q)
		m.Truncated = w.RemoteAddr().Network() == "udp"
		if !m.Truncated {
			m.Id++
		}
		_ = w.WriteMsg(m)
	})
	r := resolver(t, Config{}, s)
	if e := lookupError(t, r, "www.example.com", policy.IPv4); !e.Temporary || e.Timeout || e.Server != s.addr {
		t.Errorf("%#v", e)
	}
}

func TestBinding(t *testing.T) {
	handle := zone(t, "www.example.com. 300 IN A 192.0.2.1")
	s := serve(t, "127.0.0.2", handle)
	tests := []struct {
		name string
		cfg  Config
		from string
	}{
		{"unbound", Config{}, "127.0.0.1"},
		{"loopback address", Config{BindTo: netip.MustParseAddr("127.0.0.77")}, "127.0.0.77"},
		{"mapped address", Config{BindTo: netip.MustParseAddr("::ffff:127.0.0.77")}, "127.0.0.77"},
		// Only an unbound socket reaches a local stub resolver.
		{"other address and device, loopback server", Config{BindTo: netip.MustParseAddr("192.0.2.1"), Device: "nosuch0"}, "127.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.asked())
			lookup(t, resolver(t, tt.cfg, s), "www.example.com", policy.IPv4)
			for _, q := range s.asked()[before:] {
				if q.From != netip.MustParseAddr(tt.from) {
					t.Errorf("asked from %v, want %v", q.From, tt.from)
				}
			}
		})
	}
}

// If a socket cannot be bound, no query is sent, because it would leave by another network.
func TestBindingFails(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")
	tests := []struct {
		name string
		cfg  Config
	}{
		{"other family", Config{BindTo: netip.MustParseAddr("192.0.2.1"), Servers: []netip.AddrPort{v6}}},
		{"address is not ours", Config{BindTo: netip.MustParseAddr("192.0.2.1"), Servers: []netip.AddrPort{v4}}},
		{"no such device", Config{Device: "nosuch0", Servers: []netip.AddrPort{v4}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := lookupError(t, resolver(t, tt.cfg), "www.example.com", policy.IPv4)
			if !e.Temporary || e.Timeout || e.NotFound || e.Server != tt.cfg.Servers[0] {
				t.Errorf("%#v", e)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	reached := make(chan struct{}, 10)
	s := serve(t, "127.0.0.2", func(dns.ResponseWriter, *dns.Msg) { reached <- struct{}{} })
	r := resolver(t, Config{Timeout: impatience, Attempts: 2}, s)
	e := lookupError(t, r, "www.example.com", policy.IPv4)
	if !e.Timeout || !e.Temporary || e.NotFound || e.Server != s.addr || !errors.Is(e, os.ErrDeadlineExceeded) {
		t.Errorf("%#v: %v", e, e)
	}
	<-reached
	<-reached // a busy machine may hand the query over late
	if n := len(s.asked()); n != 2 {
		t.Errorf("server was asked %d times, want 2", n)
	}
}

// The id of a query cannot be told from those before.
func TestIDsAreRandom(t *testing.T) {
	const n = 64
	ids, steps := map[uint16]bool{}, map[uint16]bool{}
	var last uint16
	for range n {
		m, wire, err := newQuery(question{"www.example.com", dns.TypeA}, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint16(wire); got != m.Id {
			t.Errorf("id %d is sent as %d", m.Id, got)
		}
		ids[m.Id], steps[m.Id-last], last = true, true, m.Id
	}
	// Of 64 random ids, more than 4 are equal to others once in a thousand million runs.
	if len(ids) < n-4 || len(steps) < n-4 {
		t.Errorf("%d different ids of %d, with %d different steps", len(ids), n, len(steps))
	}
}

// A server's answer about one name brings no addresses of others, not even beside those that
// were asked for.
func TestAddressesOfOtherNamesAreLeftOut(t *testing.T) {
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q, rr(t, "www.example.com. 300 IN CNAME other.example.com."))
		for _, line := range []string{
			"www.example.com. 300 IN A 192.0.2.1", // the name is an alias, so this is nobody's
			"bank.example.com. 300 IN A 192.0.2.2",
			"other.example.com. 300 IN A 192.0.2.3",
			"other.example.com. 300 CH A 192.0.2.4",
		} {
			m.Answer = append(m.Answer, rr(t, line))
		}
		_ = w.WriteMsg(m)
	})
	a := lookup(t, resolver(t, Config{}, s), "www.example.com", policy.IPv4)
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.3")}; !slices.Equal(a.Addrs, want) {
		t.Errorf("got %v, want %v", a.Addrs, want)
	}
}
