package resolve

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// ednsServer is a server that handles queries with an OPT record by handle, and answers the
// others. sizes returns the sizes that its queries announced, in order, with 0 for queries
// without OPT.
func ednsServer(t *testing.T, ip string, handle handler) (s *server, sizes func() []int) {
	t.Helper()
	answer := zone(t, soa, "a.example.com. 300 IN A 192.0.2.1", "b.example.com. 300 IN A 192.0.2.2", "c.example.com. 300 IN A 192.0.2.3")
	var mu sync.Mutex
	var seen []int
	s = serve(t, ip, func(w dns.ResponseWriter, q *dns.Msg) {
		opt := q.IsEdns0()
		size := 0
		if opt != nil {
			size = int(opt.UDPSize())
		}
		mu.Lock()
		seen = append(seen, size)
		mu.Unlock()
		if opt != nil {
			handle(w, q)
			return
		}
		answer(w, q)
	})
	return s, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// copied makes a server that copies the OPT record of the query into the answer section,
// before the answer or in place of it.
func copied(rrs ...dns.RR) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := response(q)
		m.Answer, m.Extra = append([]dns.RR{q.IsEdns0()}, rrs...), nil
		_ = w.WriteMsg(m)
	}
}

// without leaves the OPT record out of what h answers.
func without(h handler) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		q.Extra = nil
		h(w, q)
	}
}

// Servers that do not know EDNS are asked without it. This is remembered for a while.
func TestServersWithoutEDNS(t *testing.T) {
	const with, none = ednsSize, 0
	tests := []struct {
		name   string
		handle handler
		first  []int // what the queries of the first lookup announce
	}{
		{"drops queries with OPT", mute, []int{with, none}},
		{"FORMERR, header only", func(w dns.ResponseWriter, q *dns.Msg) {
			m := response(q)
			m.Rcode, m.Question, m.Extra = dns.RcodeFormatError, nil, nil
			_ = w.WriteMsg(m)
		}, []int{with, none}},
		{"FORMERR with OPT", rcode(dns.RcodeFormatError), []int{with, none}},
		{"NOTIMP", without(rcode(dns.RcodeNotImplemented)), []int{with, none}},
		{"SERVFAIL without OPT", without(rcode(dns.RcodeServerFailure)), []int{with, none}},
		{"BADVERS", rcode(dns.RcodeBadVers), []int{with, none}},
		{"copies OPT in place of the answer", copied(), []int{with, none}},
		{"copies OPT in front of the answer", copied(rr(t, "a.example.com. 300 IN A 192.0.2.1")), []int{with}},
		{"leaves OPT out", without(zone(t, "a.example.com. 300 IN A 192.0.2.1")), []int{with}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, sizes := ednsServer(t, "127.0.0.2", tt.handle)
			var c clock
			cfg := Config{Now: c.now, CacheSize: -1}
			if len(tt.first) > 1 && tt.name == tests[0].name {
				cfg.Timeout = impatience
			}
			r := resolver(t, cfg, s)
			want := slices.Clone(tt.first)
			lookup(t, r, "a.example.com", policy.IPv4)
			for range 3 { // remembered
				lookup(t, r, "a.example.com", policy.IPv4)
				want = append(want, none)
			}
			c.advance(minEDNSHold) // forgotten, and found out again
			lookup(t, r, "a.example.com", policy.IPv4)
			want = append(want, tt.first...)
			c.advance(minEDNSHold) // this time for twice as long
			lookup(t, r, "a.example.com", policy.IPv4)
			want = append(want, none)
			r.Flush()
			lookup(t, r, "a.example.com", policy.IPv4)
			want = append(want, tt.first...)
			if got := sizes(); !slices.Equal(got, want) {
				t.Errorf("announced %v, want %v", got, want)
			}
		})
	}
}

// That a name does not exist is an answer, even without OPT. The question is not asked
// again.
func TestNotFoundWithoutEDNS(t *testing.T) {
	for name, handle := range map[string]handler{"with OPT": zone(t, soa), "without": without(zone(t, soa))} {
		s, sizes := ednsServer(t, "127.0.0.2", handle)
		if e := lookupError(t, resolver(t, Config{}, s), "a.example.com", policy.IPv4); !e.NotFound {
			t.Errorf("%s: %v", name, e)
		}
		if got := sizes(); !slices.Equal(got, []int{ednsSize}) {
			t.Errorf("%s: announced %v", name, got)
		}
	}
}

// With a single attempt, its time is enough for both questions.
func TestEDNSSilenceWithOneAttempt(t *testing.T) {
	s, sizes := ednsServer(t, "127.0.0.2", mute)
	r := resolver(t, Config{Timeout: 2 * impatience, Attempts: 1}, s)
	lookup(t, r, "a.example.com", policy.IPv4)
	if got, want := sizes(), []int{ednsSize, 0}; !slices.Equal(got, want) {
		t.Errorf("announced %v, want %v", got, want)
	}
}

// A server that drops queries with OPT is recognised even if another server answers.
func TestEDNSSilenceBesideAnotherServer(t *testing.T) {
	var c clock
	first, sizes := ednsServer(t, "127.0.0.2", mute)
	second := serve(t, "127.0.0.3", zone(t, "a.example.com. 300 IN A 192.0.2.9"))
	r := resolver(t, Config{Timeout: impatience, Now: c.now}, first, second)
	if a := lookup(t, r, "a.example.com", policy.IPv4); a.Server != second.addr {
		t.Errorf("answer is from %v", a.Server)
	}
	c.advance(penalty)
	for _, host := range []string{"b.example.com", "c.example.com"} {
		if a := lookup(t, r, host, policy.IPv4); a.Server != first.addr {
			t.Errorf("%s: answer is from %v", host, a.Server)
		}
	}
	if got, want := sizes(), []int{ednsSize, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("announced %v, want %v", got, want)
	}
}

// The memory about servers is bounded, and follows a few rules.
func TestEDNSMemory(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	var c clock
	r := resolver(t, Config{Now: c.now})
	uses := func(want bool, when string) {
		t.Helper()
		if r.usesEDNS(server) != want {
			t.Errorf("%s: EDNS is used: %v", when, !want)
		}
	}
	uses(true, "unknown")
	r.lacksEDNS(server, true)
	uses(true, "answer without, of one that was not under suspicion")
	r.suspectEDNS(server, true)
	uses(false, "silent")
	r.suspectEDNS(server, false)
	uses(true, "silent without, too")

	r.speaksEDNS(server)
	for _, want := range []bool{true, false} { // a query of one that has it may get lost
		r.suspectEDNS(server, true)
		r.lacksEDNS(server, true)
		uses(want, "silent after it spoke")
	}
	hold := minEDNSHold
	for range 10 {
		c.advance(hold - 1)
		uses(false, "held")
		c.advance(1)
		uses(true, fmt.Sprint("after ", hold))
		r.lacksEDNS(server, false)
		hold = min(2*hold, maxEDNSHold)
	}
	c.advance(maxEDNSHold)
	r.speaksEDNS(server)
	r.lacksEDNS(server, false)
	c.advance(minEDNSHold)
	uses(true, "it had been forgiven")

	for i := range 1000 {
		r.lacksEDNS(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i)), false)
	}
	if n := len(r.edns); n > 4*maxServers {
		t.Errorf("%d servers remembered", n)
	}
}

// A dead server does not make later queries go without EDNS.
func TestEDNSOfDeadServer(t *testing.T) {
	for attempts := 1; attempts <= 2; attempts++ {
		s := serve(t, "127.0.0.2", mute)
		r := resolver(t, Config{Timeout: impatience, Attempts: attempts}, s)
		if e := lookupError(t, r, "a.example.com", policy.IPv4); !e.Timeout {
			t.Error(e)
		}
		if !r.usesEDNS(s.addr) {
			t.Errorf("%d attempts: it would be asked without", attempts)
		}
	}
}
