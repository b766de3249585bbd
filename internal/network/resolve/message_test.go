package resolve

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// raw sends a good response whose bytes spoil has changed.
func raw(answer []dns.RR, spoil func(m *dns.Msg, data []byte) []byte) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q, answer...)
		m.Extra = nil
		m.Compress = true
		data, _ := m.Pack()
		_, _ = w.Write(spoil(m, data))
	}
}

// counted changes one of the counts in the header. They begin at the octets 4 (questions),
// 6 (answers), 8 (authority) and 10 (additional).
func counted(data []byte, at int, more uint16) []byte {
	binary.BigEndian.PutUint16(data[at:], binary.BigEndian.Uint16(data[at:])+more)
	return data
}

// bad returns a record with the name of the question, and with a type and data that may be
// wrong.
func bad(rrtype uint16, data string) []byte {
	b := []byte{0xc0, headerSize}
	b = binary.BigEndian.AppendUint16(b, rrtype)
	b = append(b, 0, dns.ClassINET, 0, 0, 1, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// A fault in a response that is not in its answers does not make the answers invalid.
func TestLenientReading(t *testing.T) {
	good := []dns.RR{rr(t, "www.example.com. 300 IN A 192.0.2.1"), rr(t, "www.example.com. 300 IN A 192.0.2.2")}
	alias := []dns.RR{rr(t, "www.example.com. 300 IN CNAME web.example.com."), rr(t, "web.example.com. 300 IN A 192.0.2.1"), rr(t, "web.example.com. 300 IN A 192.0.2.2")}
	// SVCB whose address hint has the wrong length, which the library refuses.
	const badHTTPS = "\x00\x01\x00\x00\x04\x00\x03\x01\x02\x03"
	tests := []struct {
		name   string
		answer []dns.RR
		spoil  func(m *dns.Msg, data []byte) []byte
	}{
		{"additional section is rubbish", good, func(_ *dns.Msg, b []byte) []byte {
			return append(counted(b, 10, 1), "rubbish, rubbish, rubbish"...)
		}},
		{"additional section is missing", good, func(_ *dns.Msg, b []byte) []byte { return counted(b, 10, 3) }},
		{"additional record has a bad length", good, func(_ *dns.Msg, b []byte) []byte {
			return append(counted(b, 10, 1), bad(dns.TypeA, "123")...)
		}},
		{"authority section is missing", good, func(_ *dns.Msg, b []byte) []byte { return counted(b, 8, 1) }},
		{"authority section is rubbish", alias, func(_ *dns.Msg, b []byte) []byte {
			return append(counted(counted(b, 8, 2), 10, 1), "\xc0\xff\x00"...)
		}},
		{"a pointer beyond the end", good, func(_ *dns.Msg, b []byte) []byte { return append(counted(b, 10, 1), 0xff, 0xff, 0, 1, 0, 1) }},
		{"answer has a malformed record of another type", good, func(_ *dns.Msg, b []byte) []byte {
			return append(counted(b, 6, 1), bad(dns.TypeHTTPS, badHTTPS)...)
		}},
		{"malformed record in front of the addresses", nil, func(_ *dns.Msg, b []byte) []byte {
			b = append(counted(b, 6, 3), bad(dns.TypeHTTPS, badHTTPS)...)
			return append(append(b, bad(dns.TypeA, "\xc0\x00\x02\x01")...), bad(dns.TypeA, "\xc0\x00\x02\x02")...)
		}},
		{"an address of three octets", nil, func(_ *dns.Msg, b []byte) []byte {
			b = append(counted(b, 6, 3), bad(dns.TypeA, "\xc0\x00\x02\x01")...)
			return append(append(b, bad(dns.TypeA, "\xc0\x00\x02")...), bad(dns.TypeA, "\xc0\x00\x02\x02")...)
		}},
		{"more answers announced than there are", good, func(_ *dns.Msg, b []byte) []byte { return counted(b, 6, 2) }},
		{"octets behind the message", good, func(_ *dns.Msg, b []byte) []byte { return append(b, make([]byte, 20)...) }},
	}
	for _, tt := range tests {
		for _, tcp := range []string{"udp", "tcp"} {
			t.Run(tt.name+" "+tcp, func(t *testing.T) {
				h := raw(tt.answer, tt.spoil)
				s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
					if tcp == "tcp" && w.RemoteAddr().Network() == "udp" {
						m := response(q)
						m.Truncated = true
						_ = w.WriteMsg(m)
						return
					}
					h(w, q)
				})
				a := lookup(t, resolver(t, Config{}, s), "www.example.com", policy.IPv4)
				if diff := cmp.Diff(addrs("192.0.2.1", "192.0.2.2"), a.Addrs, addrEqual); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// A negative answer counts, too. If the part cannot be read that says how long it holds, it
// is not remembered.
func TestLenientNegative(t *testing.T) {
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q)
		m.Rcode, m.Extra = dns.RcodeNameError, nil
		data, _ := m.Pack()
		_, _ = w.Write(append(counted(data, 8, 1), "rubbish"...))
	})
	r := resolver(t, Config{}, s)
	for i := range 2 {
		if e := lookupError(t, r, "www.example.com", policy.IPv4); !errors.Is(e, errNoHost) || !e.NotFound {
			t.Error(e)
		}
		if n := len(s.asked()); n < i+1 {
			t.Errorf("asked %d times", n)
		}
	}
}

// A header without a question means that the server declines, and nothing else.
func TestHeaderOnly(t *testing.T) {
	ok := serve(t, "127.0.0.3", zone(t, "www.example.com. 300 IN A 192.0.2.1"))
	for _, code := range []int{dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused, 15} {
		s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
			m := response(q)
			m.Rcode, m.Question, m.Extra = code, nil, nil
			_ = w.WriteMsg(m)
		})
		if a := lookup(t, resolver(t, Config{}, s, ok), "www.example.com", policy.IPv4); a.Server != ok.addr {
			t.Errorf("code %d: answer is from %v", code, a.Server)
		}
	}
}
