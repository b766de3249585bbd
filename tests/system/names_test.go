package system

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// over returns a command for startBy. The program that it runs sees the file or folder
// from in place of to; other programs do not.
func over(t *testing.T, from, to string) []string {
	t.Helper()
	by := []string{"unshare", "--mount", "sh", "-c", `mount --bind "$1" "$2" && shift 2 && exec "$@"`, "sh", from, to}
	if out, err := exec.Command(by[0], append(slices.Clone(by[1:]), "true")...).CombinedOutput(); err != nil {
		required.Lacking(t, "needs unshare and mount of util-linux, and the right to mount: %v: %s", err, out)
	}
	return by
}

// asked returns which types the name servers of a network were asked for about a name,
// and from which of the client's addresses.
func asked(n *testbed.Network, name string) (types []string, from []netip.Addr) {
	for _, q := range n.Server.DNS.Queries() {
		if q.Name == dns.Fqdn(name) {
			types = append(types, dns.TypeToString[q.Type])
			from = append(from, q.Remote.Addr())
		}
	}
	slices.Sort(types)
	return types, from
}

// only makes a name server answer questions of some types about the names in zone.
// Unknown names do not exist. Other questions get no answer.
func only(zone testbed.Zone, types ...uint16) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		q := m.Question[0]
		r := new(dns.Msg).SetReply(m)
		records, known := zone[strings.TrimSuffix(strings.ToLower(q.Name), ".")]
		if !known {
			r.Rcode = dns.RcodeNameError
			_ = w.WriteMsg(r) // if this fails, the client asks again
			return
		}
		if !slices.Contains(types, q.Qtype) {
			return
		}
		for _, text := range records {
			if rr, err := dns.NewRR(q.Name + " 60 IN " + text); err == nil && rr.Header().Rrtype == q.Qtype {
				r.Answer = append(r.Answer, rr)
			}
		}
		_ = w.WriteMsg(r)
	})
}

// The chosen network does not know a name that the office network knows. The name is
// found, because it is then asked for at the default resolver.
func TestSplitHorizon(t *testing.T) {
	bed := laptop(t)
	const name = "intranet.example.net"
	intranet := testbed.Zone{name: {"A 192.0.2.1"}}
	bed.Networks[0].Server.DNS.SetHandler(only(intranet, dns.TypeA, dns.TypeAAAA))
	bed.Networks[1].Server.DNS.SetHandler(only(testbed.Zone{}, dns.TypeA, dns.TypeAAAA))
	by := over(t, write(t, "resolv.conf", "nameserver 10.1.0.1\n"), "/etc/resolv.conf")
	d := startBy(t, bed.Client, by, write(t, "policy.conf", `policy "sample" {}
interface "wlan0" {
  nameserver = ["10.1.0.1"]
}
interface "wwan0" {
  default    = true
  nameserver = ["10.2.0.1"]
}
`))
	if n, took := startDialer(t, bed, d.socket).dial(name + ":80"); n != "wwan0" {
		t.Errorf("connected by %s after %v", n, took)
	}
	for _, n := range bed.Networks {
		types, from := asked(n, name)
		// Each family is asked for once at most.
		if len(types) == 0 || len(slices.Compact(slices.Clone(types))) != len(types) {
			t.Errorf("%s was asked %v", n.Name, types)
		}
		for _, a := range from {
			if a != n.Client4 && a != n.Client6 {
				t.Errorf("%s was asked by %v", n.Name, a)
			}
		}
	}
}

// The name servers of a network are those that systemd-resolved knows.
func TestLinkServers(t *testing.T) {
	bed := laptop(t)
	run := t.TempDir()
	netif := filepath.Join(run, "systemd/resolve/netif")
	if err := os.MkdirAll(netif, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range bed.Networks {
		text := fmt.Sprintf("# This is private data. Do not parse.\nLLMNR=yes\nSERVERS=%v\n", n.Gateway4)
		if err := os.WriteFile(filepath.Join(netif, fmt.Sprint(n.Index)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := startBy(t, bed.Client, over(t, run, "/run"), write(t, "policy.conf", `policy "sample" {}
interface "wlan0" {}
interface "wwan0" {
  default = true
}
`))
	d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		for _, n := range bed.Networks {
			if x := p[n.Name]; !x.OwnResolvers || len(x.Resolvers) != 1 || x.Resolvers[0] != fmt.Sprintf("%v:53", n.Gateway4) {
				return fmt.Sprintf("the servers of %s are %v", n.Name, x.Resolvers)
			}
		}
		return ""
	})
	const name = "www.example.net"
	if n, took := startDialer(t, bed, d.socket).dial(name + ":80"); n != "wwan0" {
		t.Errorf("connected by %s after %v", n, took)
	}
	if types, _ := asked(bed.Networks[0], name); len(types) > 0 {
		t.Errorf("wlan0 was asked %v", types)
	}
	if _, from := asked(bed.Networks[1], name); len(from) == 0 || from[0] != bed.Networks[1].Client4 {
		t.Errorf("wwan0 was asked by %v", from)
	}
}

// A name server that answers for one family only delays a connection by the resolution
// delay (RFC 8305 section 3), and not by the time-out of a question.
func TestHalfAnswers(t *testing.T) {
	timed(t)
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", resolverConf))
	c := startDialer(t, bed, d.socket)
	zone := testbed.Zone{"a.example.net": {"A 192.0.2.1"}, "b.example.net": {"AAAA 2001:db8:ffff::1"}}
	for name, qtype := range map[string]uint16{"a.example.net": dns.TypeA, "b.example.net": dns.TypeAAAA} {
		for _, n := range bed.Networks {
			n.Server.DNS.SetHandler(only(zone, qtype))
		}
		if n, took := c.dial(name + ":80"); n != "wlan0" || took > time.Second {
			t.Errorf("%s: connected by %s after %v", name, n, took)
		}
	}
}

// This shows whether a device is bound beside the address, and the consequence. With
// "never", packets from the chosen network's address leave by the other network, whose
// provider drops them.
func TestBindDeviceModes(t *testing.T) {
	bed := laptop(t)
	for _, tt := range []struct {
		mode, wlan, wwan, network string
	}{
		{"auto", "unknown", "wwan0", "wwan0"},
		{"always", "wlan0", "wwan0", "wwan0"},
		{"never", "unknown", "unknown", "wlan0"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			d := start(t, bed.Client, write(t, "policy.conf", fmt.Sprintf(`policy "sample" {}
bind_device = %q
interface "wlan0" {}
interface "wwan0" {
  default = true
}
`, tt.mode)))
			p := d.prefixes(t)
			if wlan, wwan := text(p["wlan0"].Device), text(p["wwan0"].Device); wlan != tt.wlan || wwan != tt.wwan {
				t.Errorf("devices %s and %s, want %s and %s", wlan, wwan, tt.wlan, tt.wwan)
			}
			if n, took := startDialer(t, bed, d.socket).dial(service); n != tt.network {
				t.Errorf("connected by %s after %v", n, took)
			}
		})
	}
}
