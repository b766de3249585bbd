package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// lame answers like a server that offers no recursion and knows nothing.
func lame(w dns.ResponseWriter, q *dns.Msg) {
	m := response(q)
	m.RecursionAvailable = false
	_ = w.WriteMsg(m)
}

func TestNextServer(t *testing.T) {
	good := zone(t, soa, "www.example.com. 300 IN A 192.0.2.1")
	tests := []struct {
		name    string
		first   handler
		timeout time.Duration
	}{
		{"SERVFAIL", rcode(dns.RcodeServerFailure), patience},
		{"REFUSED", rcode(dns.RcodeRefused), patience},
		{"NOTIMP", rcode(dns.RcodeNotImplemented), patience},
		{"unknown code", rcode(15), patience},
		{"FORMERR", rcode(dns.RcodeFormatError), patience},
		{"lame", lame, patience},
		{"alias loop", zone(t, "www.example.com. 300 IN CNAME www.example.com."), patience},
		{"silence", mute, impatience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad, ok := serve(t, "127.0.0.2", tt.first), serve(t, "127.0.0.3", good)
			r := resolver(t, Config{Timeout: tt.timeout}, bad, ok)
			if a := lookup(t, r, "www.example.com", policy.IPv4); a.Server != ok.addr {
				t.Errorf("answer is from %v, want %v", a.Server, ok.addr)
			}
			if len(bad.asked()) == 0 {
				t.Error("first server was not asked")
			}
		})
	}
}

// An answer that there is nothing is final, and no reason to ask further.
func TestNotFoundIsFinal(t *testing.T) {
	first, second := serve(t, "127.0.0.2", zone(t, soa, "v4.example.com. 300 IN A 192.0.2.1")), serve(t, "127.0.0.3", mute)
	r := resolver(t, Config{}, first, second)
	for _, host := range []string{"none.example.com", "v4.example.com"} {
		if e := lookupError(t, r, host, policy.IPv6); !e.NotFound || e.Temporary || e.Timeout || e.Server != first.addr {
			t.Errorf("%s: %#v", host, e)
		}
	}
	if got := second.asked(); len(got) > 0 {
		t.Errorf("second server was asked %v", got)
	}
}

// A server that declines is asked once. The error says what it answered.
func TestAllServersFail(t *testing.T) {
	a, b := serve(t, "127.0.0.2", rcode(dns.RcodeServerFailure)), serve(t, "127.0.0.3", rcode(dns.RcodeRefused))
	r := resolver(t, Config{}, a, b)
	e := lookupError(t, r, "www.example.com", policy.IPv4)
	if !errors.Is(e, rcodeError(dns.RcodeRefused)) || e.NotFound || e.Timeout || e.Server != b.addr {
		t.Errorf("%#v", e)
	}
	if len(a.asked()) != 1 || len(b.asked()) != 1 {
		t.Errorf("asked %v and %v", a.asked(), b.asked())
	}
	if e := lookupError(t, resolver(t, Config{}, a), "www.example.com", policy.IPv4); !e.Temporary {
		t.Errorf("SERVFAIL is not temporary: %#v", e)
	}
}

// A closed port is noticed at once, well before the time-out.
func TestRefusedConnection(t *testing.T) {
	var closed netip.AddrPort
	t.Run("server that ends", func(t *testing.T) { closed = serve(t, "127.0.0.4", mute).addr })
	ok := serve(t, "127.0.0.3", zone(t, "www.example.com. 300 IN A 192.0.2.1"))
	r := resolver(t, Config{Servers: []netip.AddrPort{closed, ok.addr}})
	if a := lookup(t, r, "www.example.com", policy.IPv4); a.Server != ok.addr {
		t.Errorf("answer is from %v, want %v", a.Server, ok.addr)
	}
	e := lookupError(t, resolver(t, Config{Servers: []netip.AddrPort{closed}}), "www.example.com", policy.IPv4)
	if want := fmt.Sprintf("resolve www.example.com: server %v: read: connection refused", closed); e.Error() != want {
		t.Errorf("error is %q, want %q", e, want)
	}
}

func TestPenalty(t *testing.T) {
	var c clock
	answer := zone(t, "a.example.com. 1 IN A 192.0.2.1", "b.example.com. 1 IN A 192.0.2.1", "c.example.com. 1 IN A 192.0.2.1")
	revived := make(chan struct{})
	first := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		select {
		case <-revived:
			answer(w, q)
		default:
		}
	})
	second := serve(t, "127.0.0.3", answer)
	r := resolver(t, Config{Timeout: 2 * impatience, Now: c.now}, first, second)
	lookup(t, r, "a.example.com", policy.IPv4)
	close(revived)
	if a := lookup(t, r, "b.example.com", policy.IPv4); a.Server != second.addr {
		t.Errorf("after a time-out %v was asked first", a.Server)
	}
	c.advance(penalty)
	if a := lookup(t, r, "c.example.com", policy.IPv4); a.Server != first.addr {
		t.Errorf("after the penalty %v was asked first", a.Server)
	}
}

func TestRotate(t *testing.T) {
	handle := zone(t, soa, "a.example.com. 0 IN A 192.0.2.1")
	one, two := serve(t, "127.0.0.2", handle), serve(t, "127.0.0.3", handle)
	r := resolver(t, Config{ResolvConf: write(t, "resolv.conf",
		fmt.Sprintf("nameserver %v\nnameserver %v\noptions rotate", one.addr, two.addr))})
	for range 4 {
		lookup(t, r, "a.example.com", policy.IPv4)
	}
	if len(one.asked()) != 2 || len(two.asked()) != 2 {
		t.Errorf("asked %d and %d times", len(one.asked()), len(two.asked()))
	}
}

// A server that is not recursive returns only the alias. The resolver asks for the target.
func TestAliasIsFollowed(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, soa,
		"www.example.com. 300 IN CNAME cdn.example.net.",
		"cdn.example.net. 60 IN CNAME edge.example.net.",
		"edge.example.net. 120 IN A 192.0.2.1",
		"gone.example.com. 300 IN CNAME gone.example.net.",
	))
	var c clock
	r := resolver(t, Config{Now: c.now}, s)
	got := lookup(t, r, "www.example.com", policy.IPv4)
	want := Answer{Addrs: addrs("192.0.2.1"), Name: "edge.example.net", Server: s.addr, Expires: c.now().Add(time.Minute)}
	if diff := cmp.Diff(want, got, addrEqual); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var asked []string
	for _, q := range s.asked() {
		asked = append(asked, q.Name)
	}
	if diff := cmp.Diff([]string{"www.example.com.", "cdn.example.net.", "edge.example.net."}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if e := lookupError(t, r, "gone.example.com", policy.IPv4); !errors.Is(e, errNoHost) {
		t.Errorf("alias of what does not exist: %v", e)
	}
}

// A chain of aliases that the server prolongs with each question comes to an end.
func TestEndlessAliases(t *testing.T) {
	var n atomic.Int32
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(response(q, rr(t, fmt.Sprintf("%s 300 IN CNAME n%d.example.com.", q.Question[0].Name, n.Add(1)))))
	})
	r := resolver(t, Config{}, s)
	if e := lookupError(t, r, "www.example.com", policy.IPv4); !errors.Is(e, errAliases) {
		t.Errorf("%v", e)
	}
	if got := len(s.asked()); got > maxAliases+1 {
		t.Errorf("server was asked %d times", got)
	}
}

// If one family fails, the other's addresses are used. If the other has none, the lookup
// may be repeated later.
func TestOneFamilyFails(t *testing.T) {
	good := zone(t, soa, "www.example.com. 300 IN A 192.0.2.1")
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeAAAA {
			rcode(dns.RcodeServerFailure)(w, q)
			return
		}
		good(w, q)
	})
	r := resolver(t, Config{}, s)
	if a := lookup(t, r, "www.example.com", policy.Unspecified); len(a.Addrs) != 1 {
		t.Errorf("got %+v", a)
	}
	if e := lookupError(t, r, "none.example.com", policy.Unspecified); !e.Temporary || e.NotFound {
		t.Errorf("%#v", e)
	}
}

// With a search list, a server's failure for one name does not hide the next name. But if
// nothing is found, a failure counts for more than names that do not exist.
func TestSearchAfterFailure(t *testing.T) {
	good := zone(t, soa, "www.b.example.com. 300 IN A 192.0.2.1")
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		if dns.IsSubDomain("a.example.com.", q.Question[0].Name) {
			rcode(dns.RcodeServerFailure)(w, q)
			return
		}
		good(w, q)
	})
	r := resolver(t, Config{ResolvConf: write(t, "resolv.conf",
		fmt.Sprintf("nameserver %v\nsearch a.example.com b.example.com", s.addr))})
	if a := lookup(t, r, "www", policy.IPv4); a.Name != "www.b.example.com" {
		t.Errorf("got %+v", a)
	}
	if e := lookupError(t, r, "none", policy.IPv4); e.NotFound || !e.Temporary {
		t.Errorf("%#v", e)
	}
}
