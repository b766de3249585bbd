package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

func servers(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestParseResolvConf(t *testing.T) {
	tests := []struct {
		name, content string
		want          resolvConf
	}{
		{"empty", "", resolvConf{ndots: 1}},
		{"servers", "nameserver 192.0.2.1\nnameserver fe80::1%eth0\r\nnameserver 192.0.2.2:5353 # mine\nnameserver [2001:db8::1]:54\nnameserver ::ffff:192.0.2.3\n",
			resolvConf{ndots: 1, servers: servers("192.0.2.1:53", "[fe80::1%eth0]:53", "192.0.2.2:5353", "[2001:db8::1]:54", "192.0.2.3:53")}},
		{"not servers", "nameserver\nnameserver here\n#nameserver 192.0.2.1\n; nameserver 192.0.2.1\nnameserver 192.0.2.1:99999\n", resolvConf{ndots: 1}},
		{"twice the same", "nameserver 192.0.2.1\nnameserver 192.0.2.1:53", resolvConf{ndots: 1, servers: servers("192.0.2.1:53")}},
		{"search", "search A.example.com b.example.com. . bad/name\n", resolvConf{ndots: 1, searchSet: true, search: []string{"a.example.com", "b.example.com"}}},
		{"the last list counts", "search a.example.com\ndomain b.example.com\n", resolvConf{ndots: 1, searchSet: true, search: []string{"b.example.com"}}},
		{"an empty list", "search .\n", resolvConf{ndots: 1, searchSet: true}},
		{"options", "options ndots:3 timeout:2 attempts:4 rotate use-vc edns0 trust-ad\n",
			resolvConf{ndots: 3, timeout: 2 * time.Second, attempts: 4, rotate: true, tcp: true}},
		{"more options", "options no-aaaa single-request single-request-reopen\noptions no-tld-query no-reload\n",
			resolvConf{ndots: 1, noAAAA: true, single: true, noTLD: true, noReload: true}},
		{"values as the C library reads them", "options ndots:2x timeout:4s attempts:02 use-vc:no debug inet6\n",
			resolvConf{ndots: 2, timeout: 4 * time.Second, attempts: 2, tcp: true}},
		{"bounds", "options ndots:99 timeout:0 attempts:99\n", resolvConf{ndots: maxNdots, timeout: time.Second, attempts: maxTries}},
		{"bad options", "options ndots:x timeout:-1 attempts\n", resolvConf{ndots: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parseResolvConf([]byte(tt.content))
			if diff := cmp.Diff(&tt.want, got, cmp.AllowUnexported(resolvConf{}), addrEqual, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The settings of the file count if Config has none.
func TestSettingsFromFile(t *testing.T) {
	from := parseResolvConf([]byte("options timeout:2 attempts:1"))
	st := (&Config{}).settings(from)
	if st.timeout != 2*time.Second || st.attempts != 1 {
		t.Errorf("time-out %v, %d attempts", st.timeout, st.attempts)
	}
	st = (&Config{Timeout: time.Minute, Attempts: 5}).settings(from)
	if st.timeout != time.Minute || st.attempts != 5 {
		t.Errorf("time-out %v, %d attempts", st.timeout, st.attempts)
	}
}

func TestParseHosts(t *testing.T) {
	got := parseHosts([]byte(`
127.0.0.1	localhost Localhost.  # both are one
::1 localhost ip6-localhost
2001:db8::2 two
192.0.2.2 two
192.0.2.3 two
192.0.2.2 two
fe80::1%eth0 router
::ffff:192.0.2.9 mapped
192.0.2 bad
192.0.2.10 123456789012 4294967296
192.0.2.11 a.1 1.2.3.4.5 0x7f.zz 09 0x
192.0.2.12 12345 127.1 0x7f.1 010.1 1.2.3.4 4294967295
192.0.2.4
192.0.2.5 bad/name good_name
# 192.0.2.6 comment
`))
	want := map[string][]netip.Addr{
		"localhost":     addrs("127.0.0.1", "::1"),
		"ip6-localhost": addrs("::1"),
		"two":           addrs("192.0.2.2", "192.0.2.3", "2001:db8::2"),
		"router":        addrs("fe80::1%eth0"),
		"mapped":        addrs("192.0.2.9"),
		// Numbers that are addresses in one of the forms of inet_aton(3) are not accepted
		// as names.
		"123456789012": addrs("192.0.2.10"),
		"4294967296":   addrs("192.0.2.10"),
		"a.1":          addrs("192.0.2.11"),
		"1.2.3.4.5":    addrs("192.0.2.11"),
		"0x7f.zz":      addrs("192.0.2.11"),
		"09":           addrs("192.0.2.11"),
		"0x":           addrs("192.0.2.11"),
		"good_name":    addrs("192.0.2.5"),
	}
	if diff := cmp.Diff(want, got.addrs, addrEqual); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch a.example.com b\noptions ndots:2 timeout:3 attempts:1 rotate"))
	f.Add([]byte("nameserver [::1]:0\nsearch " + strings.Repeat("a ", 50)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := parseResolvConf(data)
		if len(c.servers) > maxServers || len(c.search) > maxSearch || c.ndots < 0 || c.ndots > maxNdots ||
			c.attempts < 0 || c.attempts > maxTries || c.timeout < 0 || c.timeout > maxSeconds*time.Second {
			t.Fatalf("out of bounds: %+v", c)
		}
		// A text that was accepted once is accepted again, with the same meaning.
		var b strings.Builder
		for _, s := range c.servers {
			if !s.IsValid() || s.Port() == 0 {
				t.Fatalf("server %v", s)
			}
			fmt.Fprintf(&b, "nameserver %v\n", s)
		}
		if len(c.search) > 0 {
			fmt.Fprintf(&b, "search %s\n", strings.Join(c.search, " "))
		}
		again := parseResolvConf([]byte(b.String()))
		if diff := cmp.Diff(c.search, again.search, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(c.servers, again.servers, addrEqual, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost a.b # c\n::1 localhost\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, list := range parseHosts(data).addrs {
			if again, err := checkName(name); err != nil && !errors.Is(err, errNumber) || again != name {
				t.Fatalf("name %q: %v", name, err)
			}
			checkAddrs(t, list)
		}
	})
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"www.example.com", "A.", "a..b", "1.2.3", "_x-y", "\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, err := checkName(host)
		if err != nil {
			return
		}
		if _, ok := dns.IsDomainName(name); !ok {
			t.Fatalf("%q is not a domain name", name)
		}
		if again, err := checkName(name); err != nil || again != name {
			t.Fatalf("%q becomes %q, %v", name, again, err)
		}
		if _, ok := literal(host); ok {
			t.Fatalf("%q is name and address", host)
		}
		if _, _, err := newQuery(question{name, dns.TypeA}, true); err != nil {
			t.Fatalf("%q cannot be asked for: %v", name, err)
		}
	})
}

// FuzzReply reads what a hostile server may send in reply to a question.
func FuzzReply(f *testing.F) {
	query, _, err := newQuery(question{"www.example.com", dns.TypeA}, true)
	if err != nil {
		f.Fatal(err)
	}
	query.Id = 1
	for _, records := range [][]string{
		{"www.example.com. 300 IN A 192.0.2.1", "www.example.com. 300 IN AAAA 2001:db8::1"},
		{"www.example.com. 300 IN CNAME b.example.com.", "b.example.com. 300 IN A 192.0.2.1"},
		{"www.example.com. 300 IN CNAME www.example.com."},
		{soa},
	} {
		m := response(query)
		for _, s := range records {
			m.Answer = append(m.Answer, rr(f, s))
		}
		m.Ns = m.Answer
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 2 {
			data[0], data[1] = 0, 1 // the id is tested elsewhere
		}
		msg := matching(query, data)
		if msg == nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			c := chain{name: "www.example.com", ttl: 1<<32 - 1}
			rep := readReply(msg, c, qtype)
			if rep.err != nil {
				continue
			}
			if rep.missing != nil && len(rep.addrs) > 0 {
				t.Fatalf("both missing and there: %+v", rep)
			}
			if rep.missing == nil && len(rep.addrs) == 0 && rep.steps == 0 {
				t.Fatalf("the same question again: %+v", rep)
			}
			if (len(rep.addrs) > 0 && rep.ttl > maxTTL) || (rep.remember && rep.ttl > maxNegativeTTL) {
				t.Fatalf("TTL %d", rep.ttl)
			}
			if name, err := checkName(rep.name); err != nil || name != rep.name || rep.steps > maxAliases {
				t.Fatalf("alias %q after %d steps: %v", rep.name, rep.steps, err)
			}
			family := policy.IPv4
			if qtype == dns.TypeAAAA {
				family = policy.IPv6
			}
			if len(ofFamily(rep.addrs, family)) != len(rep.addrs) {
				t.Fatalf("other family: %v", rep.addrs)
			}
			checkAddrs(t, rep.addrs)
		}
	})
}

// checkAddrs checks what holds for every list of addresses.
func checkAddrs(t *testing.T, list []netip.Addr) {
	t.Helper()
	seen := map[netip.Addr]bool{}
	for i, addr := range list {
		if !addr.IsValid() || addr.Is4In6() || seen[addr] || i > 0 && addr.Is4() && !list[i-1].Is4() {
			t.Fatalf("bad list %v", list)
		}
		seen[addr] = true
	}
	if len(list) > maxAddrs {
		t.Fatalf("%d addresses", len(list))
	}
}
