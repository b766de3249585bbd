package resolve

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// Every option of resolv.conf(5), in man-pages 6.03 and glibc 2.36, is in the table. It has
// an effect if the table says so.
func TestConfOptions(t *testing.T) {
	const page = `debug ndots timeout attempts rotate no-aaaa no-check-names inet6 ip6-bytestring ip6-dotint no-ip6-dotint
		edns0 single-request single-request-reopen no-tld-query use-vc no-reload trust-ad`
	var names []string
	for i, o := range ConfOptions() {
		names = append(names, o.Name)
		if o.Note == "" {
			t.Errorf("%s: nothing is said about it", o.Name)
		}
		if o.Done != (confOptions[i].set != nil) {
			t.Errorf("%s: done is %v", o.Name, o.Done)
		}
		plain, with := parseResolvConf(nil), parseResolvConf(fmt.Appendf(nil, "options %s:2", o.Name))
		same := cmp.Equal(plain, with, cmp.AllowUnexported(resolvConf{}), addrEqual)
		if o.Name != "single-request-reopen" && same == o.Done { // which is always so
			t.Errorf("%s: done is %v, but settings stay the same: %v", o.Name, o.Done, same)
		}
	}
	if diff := cmp.Diff(strings.Fields(page), names); diff != "" {
		t.Errorf("(-page +table)\n%s", diff)
	}
}

func withOptions(t *testing.T, options string, servers ...*server) Config {
	t.Helper()
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %v\n", s.addr)
	}
	return Config{ResolvConf: write(t, "resolv.conf", b.String()+options)}
}

// types lists the types of the queries that a server saw.
func (s *server) types() string {
	var out []string
	for _, q := range s.asked() {
		out = append(out, dns.TypeToString[q.Qtype])
	}
	return strings.Join(out, " ")
}

func TestNoAAAA(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, "www.example.com. 300 IN A 192.0.2.1", "www.example.com. 300 IN AAAA 2001:db8::1"))
	cfg := withOptions(t, "options no-aaaa", s)
	cfg.HostsFile = write(t, "hosts", "2001:db8::2 printer\n")
	r := resolver(t, cfg)
	if a := lookup(t, r, "www.example.com", policy.Unspecified); len(a.Addrs) != 1 || !a.Addrs[0].Is4() || a.Partial {
		t.Errorf("got %+v", a)
	}
	if e := lookupError(t, r, "www.example.com", policy.IPv6); !e.NotFound {
		t.Error(e)
	}
	lookup(t, r, "printer", policy.IPv6) // no server is asked for it
	if got := s.types(); got != "A" {
		t.Errorf("asked for %s", got)
	}
}

// With single-request, the second question waits for the answer to the first one, whatever
// that is.
func TestSingleRequest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  handler
		want   int // addresses
		second bool
	}{
		{"both", zone(t, soa, "www.example.com. 300 IN A 192.0.2.1"), 2, true},
		{"no IPv4 address", zone(t, soa, "www.example.com. 300 IN AAAA 2001:db8::1"), 1, true},
		{"IPv4 fails", rcode(dns.RcodeServerFailure), 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, reached, gate := gated(tt.first)
			second := zone(t, "www.example.com. 300 IN AAAA 2001:db8::1")
			s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeA {
					first(w, q)
					return
				}
				second(w, q)
			})
			r := resolver(t, withOptions(t, "options single-request", s))
			done := make(chan Answer)
			go func() { done <- lookup(t, r, "www.example.com", policy.Unspecified) }()
			<-reached
			if got := s.types(); got != "A" {
				t.Errorf("asked for %s although the first answer is not there", got)
			}
			close(gate)
			if a := <-done; len(a.Addrs) != tt.want {
				t.Errorf("got %+v", a)
			}
			if got := s.types(); got != "A AAAA" {
				t.Errorf("asked for %s", got)
			}
			// Both answers are known by now, so nothing waits.
			if a := lookup(t, r, "www.example.com", policy.Unspecified); len(a.Addrs) != tt.want {
				t.Errorf("then %+v", a)
			}
		})
	}
}

func TestNoTLDQuery(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, soa, "www.example.com. 300 IN A 192.0.2.1", "ai. 300 IN A 192.0.2.2"))
	r := resolver(t, withOptions(t, "options no-tld-query\nsearch example.com", s))
	lookup(t, r, "www", policy.IPv4)
	lookup(t, r, "ai.", policy.IPv4) // the point says that it is a whole name
	if e := lookupError(t, r, "nix", policy.IPv4); !e.NotFound {
		t.Error(e)
	}
	if e := lookupError(t, resolver(t, withOptions(t, "options no-tld-query\nsearch .", s)), "ai", policy.IPv4); !e.NotFound {
		t.Error(e)
	}
	for _, q := range s.asked() {
		if q.Name == "nix." || q.Name == "www." {
			t.Errorf("asked for %s", q.Name)
		}
	}
}

func TestNoReload(t *testing.T) {
	one := serve(t, "127.0.0.2", zone(t, "www.example.com. 0 IN A 192.0.2.1"))
	cfg := withOptions(t, "options no-reload", one)
	var c clock
	cfg.Now = c.now
	r := resolver(t, cfg)
	lookup(t, r, "www.example.com", policy.IPv4)
	if err := os.WriteFile(cfg.ResolvConf, []byte("nameserver 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	lookup(t, r, "www.example.com", policy.IPv4)
	if n := len(one.asked()); n != 2 {
		t.Errorf("the old server was asked %d times", n)
	}
}

// If the file has no search list, it comes from the host's name (resolv.conf(5)).
func TestSearchListOfHost(t *testing.T) {
	for _, tt := range []struct{ name, host, conf, want string }{
		{"domain of the host", "laptop.Corp.example", "", "[corp.example]"},
		{"no domain", "laptop", "", "[]"},
		{"a list is there", "laptop.corp.example", "search example.net", "[example.net]"},
		{"an empty list is there", "laptop.corp.example", "search .", "[]"},
		{"not for name servers", "laptop.local", "", "[]"},
		{"no name", "laptop..", "", "[]"},
	} {
		c := Config{hostname: func() (string, error) { return tt.host, nil }}
		if got := fmt.Sprint(c.settings(parseResolvConf([]byte(tt.conf))).search); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if got := c.settings(nil).search; got != nil {
			t.Errorf("%s: %v without a file", tt.name, got)
		}
	}
}
