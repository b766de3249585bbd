package resolve

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// The table says how long an answer is used. The test asks again just before and at the end
// of that time.
func TestTTL(t *testing.T) {
	const day, forever = 24 * time.Hour, 1<<31 - 1
	tests := []struct {
		name    string
		records []string
		host    string
		want    time.Duration
	}{
		{"address", []string{"a.example.com. 300 IN A 192.0.2.1"}, "a.example.com", 300 * time.Second},
		{"least of several", []string{"a.example.com. 300 IN A 192.0.2.1", "a.example.com. 20 IN A 192.0.2.2"}, "a.example.com", 20 * time.Second},
		{"alias", []string{"a.example.com. 7 IN CNAME b.example.com.", "b.example.com. 300 IN A 192.0.2.1"}, "a.example.com", 7 * time.Second},
		{"none", []string{"a.example.com. 0 IN A 192.0.2.1"}, "a.example.com", 0},
		{"at most a day", []string{fmt.Sprintf("a.example.com. %d IN A 192.0.2.1", forever)}, "a.example.com", day},
		{"top bit", []string{fmt.Sprintf("a.example.com. %d IN A 192.0.2.1", forever+1)}, "a.example.com", 0},
		{"no such name", []string{soa}, "none.example.com", 60 * time.Second},
		{"no such name, TTL of the SOA", []string{"example.com. 5 IN SOA ns. admin. 1 3600 600 86400 60"}, "none.example.com", 5 * time.Second},
		{"no such name, hours at most", []string{"example.com. 86400 IN SOA ns. admin. 1 3600 600 86400 86400"}, "none.example.com", 3 * time.Hour},
		{"no such name, no SOA", nil, "none.example.com", 0},
		{"no such name, SOA of another zone", []string{"example.org. 600 IN SOA ns. admin. 1 3600 600 86400 60"}, "none.example.com", 0},
		{"no address", []string{soa, "a.example.com. 300 IN AAAA 2001:db8::1"}, "a.example.com", 60 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c clock
			s := serve(t, "127.0.0.2", zone(t, tt.records...))
			r := resolver(t, Config{Now: c.now}, s)
			var n int
			ask := func() (asked bool) {
				before := n
				_, _ = r.Lookup(t.Context(), tt.host, policy.IPv4)
				n = len(s.asked())
				return n > before
			}
			ask()
			if tt.want > 0 {
				c.advance(tt.want - 1)
				if ask() {
					t.Errorf("asked again before %v", tt.want)
				}
				c.advance(1)
			}
			if !ask() {
				t.Errorf("not asked again after %v", tt.want)
			}
		})
	}
}

// Failures are not remembered, because the next lookup may succeed.
func TestFailuresAreNotCached(t *testing.T) {
	var fail atomic.Bool
	fail.Store(true)
	good := zone(t, "a.example.com. 300 IN A 192.0.2.1")
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		if fail.Load() {
			rcode(dns.RcodeServerFailure)(w, q)
			return
		}
		good(w, q)
	})
	r := resolver(t, Config{}, s)
	_ = lookupError(t, r, "a.example.com", policy.IPv4)
	fail.Store(false)
	lookup(t, r, "a.example.com", policy.IPv4)
}

func TestCacheBound(t *testing.T) {
	now := time.Unix(0, 0)
	live := record{expires: now.Add(time.Hour)}
	q := func(i int) question { return question{fmt.Sprint(i), dns.TypeA} }
	c := newCache(3)
	for i := range 3 {
		c.put(q(i), live, c.gen, now)
	}
	c.get(q(0), now)
	c.put(q(1), live, c.gen, now)
	c.put(q(3), live, c.gen, now) // 2 is the least recently used
	for i, want := range []bool{true, true, false, true} {
		if _, got := c.get(q(i), now); got != want {
			t.Errorf("record %d: present is %v, want %v", i, got, want)
		}
	}
	if len(c.entries) != 3 || c.recent.Len() != 3 {
		t.Errorf("%d entries, %d in the list", len(c.entries), c.recent.Len())
	}
	c.put(q(9), live, c.gen-1, now)
	c.put(q(9), record{expires: now}, c.gen, now)
	if _, ok := c.get(q(9), now); ok {
		t.Error("a record of another generation, or an expired one, was taken")
	}
	none := newCache(-1)
	none.put(q(0), live, none.gen, now)
	if _, ok := none.get(q(0), now); ok {
		t.Error("a cache of no size remembers")
	}
}
