package resolve

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// Servers are not asked about special names unless somebody has configured that they are.
func TestSpecialNames(t *testing.T) {
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(response(q, rr(t, q.Question[0].Name+" 300 IN A 192.0.2.1")))
	})
	ask := func(cfg Config, search, host string) (asked bool, err error) {
		cfg.ResolvConf = write(t, "resolv.conf", fmt.Sprintf("nameserver %v\nsearch %s\n", s.addr, search))
		before := len(s.asked())
		_, err = resolver(t, cfg).Lookup(t.Context(), host, policy.IPv4)
		return len(s.asked()) > before, err
	}
	names := SpecialNames()
	if len(names) < 5 {
		t.Fatalf("only %d", len(names))
	}
	for _, n := range names {
		for _, host := range []string{"a." + n.Domain, n.Domain, "A.B." + n.Domain + "."} {
			asked, err := ask(Config{}, ".", host)
			if asked || (err == nil) != n.Loopback || err != nil && !errors.Is(err, errSpecial) {
				t.Errorf("%s: asked %v, %v", host, asked, err)
			}
			asked, err = ask(Config{}, "corp."+n.Domain, strings.TrimSuffix(host, ".")+".")
			if asked == n.Loopback || err != nil && !n.Loopback {
				t.Errorf("%s in the search list: asked %v, %v", host, asked, err)
			}
			asked, _ = ask(Config{Configured: true}, ".", host)
			if asked != (n.Domain == "local") {
				t.Errorf("%s of a network whose servers are configured: asked %v", host, asked)
			}
			found, err := ask(Config{HostsFile: write(t, "hosts", "192.0.2.7 "+host+"\n")}, ".", host)
			if found || err != nil {
				t.Errorf("%s in the hosts file: asked %v, %v", host, found, err)
			}
		}
	}
	for _, host := range []string{"a.test", "a.example", "a.internal", "nas.home.arpa", "ipv4only.arpa", "alocal", "a.notlocal"} {
		if asked, err := ask(Config{}, ".", host); !asked || err != nil {
			t.Errorf("%s: asked %v, %v", host, asked, err)
		}
	}
}

// A network that uses names below local in its own DNS says so in its search list, and its
// servers are asked.
func TestLocalInSearchList(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, "nas.corp.local. 300 IN A 192.0.2.1"))
	r := resolver(t, Config{ResolvConf: write(t, "resolv.conf", fmt.Sprintf("nameserver %v\nsearch corp.local", s.addr))})
	if a := lookup(t, r, "nas", policy.IPv4); a.Name != "nas.corp.local" {
		t.Errorf("got %+v", a)
	}
}
