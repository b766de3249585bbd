package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLinkServers(t *testing.T) {
	const resolved = "systemd/resolve/netif/3"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing is known", nil, ""},
		{"systemd-resolved", map[string]string{resolved: "# This is private data. Do not parse.\nLLMNR=yes\nSERVERS=192.0.2.53 2001:db8::53\nDOMAINS=example.net\n"},
			"192.0.2.53:53 [2001:db8::53]:53"},
		{"ports, names and interfaces", map[string]string{resolved: "SERVERS=192.0.2.53:5353#dns.example.net fe80::1%wlan0 [2001:db8::1]:853%wlan0#x 192.0.2.53:5353"},
			"192.0.2.53:5353 [fe80::1%wlan0]:53 [2001:db8::1]:853"},
		{"systemd-networkd", map[string]string{"systemd/netif/links/3": "ADMIN_STATE=configured\nDNS=192.0.2.1\nNTP=192.0.2.2\n"}, "192.0.2.1:53"},
		{"another interface", map[string]string{"systemd/netif/links/33": "DNS=192.0.2.1\n"}, ""},
		{"what was set counts over what was learned", map[string]string{
			resolved: "SERVERS=192.0.2.53\n", "systemd/netif/links/3": "DNS=192.0.2.1\n",
		}, "192.0.2.53:53"},
		{"resolvconf", map[string]string{
			"resolvconf/interface/wlan0.dhclient": "nameserver 192.0.2.1\n", "resolvconf/interface/wlan0.ra": "nameserver 2001:db8::1\n",
			"resolvconf/interface/wlan00.dhclient": "nameserver 192.0.2.9\n",
		}, "192.0.2.1:53 [2001:db8::1]:53"},
		{"resolvconf and VLANs", map[string]string{
			"resolvconf/interface/wlan0.100.dhclient": "nameserver 192.0.2.6\n", "resolvconf/interface/wlan0.100": "nameserver 192.0.2.7\n",
			"resolvconf/interface/wlan0.iot.inet": "nameserver 192.0.2.8\n", "resolvconf/interface/wlan0.": "nameserver 192.0.2.9\n",
			"resolvconf/interface/wlan0.dhclient": "nameserver 192.0.2.1\n", "resolvconf/interface/wlan0.ip6.dhclient": "nameserver 2001:db8::1\n",
			"resolvconf/interface/wlan0.ip6": "nameserver 2001:db8::2\n", "resolvconf/interface/wlan0.100.ip6.dhclient": "nameserver 2001:db8::9\n",
		}, "192.0.2.1:53 [2001:db8::2]:53 [2001:db8::1]:53"},
		{"resolvconf, a VLAN only", map[string]string{"resolvconf/interface/wlan0.100.dhclient": "nameserver 192.0.2.6\n"}, ""},
		{"a byte-order mark", map[string]string{"resolvconf/interface/wlan0": "\ufeffnameserver 192.0.2.1\n"}, "192.0.2.1:53"},
		{"too long, cut within an address", map[string]string{
			"resolvconf/interface/wlan0": "nameserver 192.0.2.1\n#" + strings.Repeat("x", maxLinkFile-44) + "\nnameserver 192.0.2.123\n",
		}, "192.0.2.1:53"},
		{"openresolv", map[string]string{"resolvconf/interfaces/wlan0.dhcp": "nameserver 192.0.2.1\n"}, "192.0.2.1:53"},
		{"a forwarder of this host is not the network's", map[string]string{resolved: "SERVERS=127.0.0.53 ::1 0.0.0.0 224.0.0.251\n"}, ""},
		{"rubbish", map[string]string{resolved: "SERVERS=what %% a:b:c:d # \x00\nSERVERS\n=\n"}, ""},
		{"quoted", map[string]string{resolved: `SERVERS="192.0.2.1 192.0.2.2"`}, "192.0.2.1:53 192.0.2.2:53"},
		{"too many", map[string]string{resolved: "SERVERS=" + manyServers(20)}, manyServers(maxServers)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(run, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Trim(fmt.Sprint(LinkServers(run, "wlan0", 3)), "[]"); got != strings.Trim(tt.want, "[]") {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// Nobody is waited for who might write to a FIFO in the place of such a file.
func TestLinkServersInFIFO(t *testing.T) {
	run := t.TempDir()
	for _, name := range []string{"systemd/resolve/netif/3", "resolvconf/interface/wlan0.dhclient"} {
		path := filepath.Join(run, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got := LinkServers(run, "wlan0", 3); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func manyServers(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("192.0.2.%d:53", i+1))
	}
	return strings.Join(list, " ")
}

func FuzzAssigned(f *testing.F) {
	f.Add("SERVERS=192.0.2.53:5353#dns.example.net fe80::1%wlan0 [2001:db8::1]:853%wlan0#x")
	f.Fuzz(func(t *testing.T, text string) {
		servers := assigned([]byte(text), "SERVERS")
		if len(servers) > maxServers {
			t.Fatalf("%d servers", len(servers))
		}
		for _, s := range servers {
			if !s.IsValid() || s.Addr() == (netip.Addr{}) || s.Port() == 0 {
				t.Fatalf("server %v", s)
			}
		}
	})
}
