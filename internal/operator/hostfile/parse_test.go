package hostfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const laptop = `# A laptop
sysctl net.ipv4.conf.eth0/100.rp_filter = 1
link wlan0 altname wlp3s0 altname wifi mtu 1400
link tun0 kind tun down
addr 192.168.0.23/24 dev wlan0 valid_lft 3600 preferred_lft forever
neigh fe80::9 dev wifi nud failed
nexthop id 1 via 192.168.0.1 dev wlan0
nexthop id 9 group 1,2/3
rule 5210 from all fwmark 0x80000/0xff0000 lookup main
rule6 100 not from 2001:db8::/64 uidrange 0-1000 prohibit
norule 32767
route default via inet6 fe80::1 dev wlan0 mtu lock 1300 onlink
route default metric 7 nexthop via 192.168.0.1 dev wlan0 weight 2 nexthop dev tun0 weight 1
route blackhole 192.0.2.0/24
route 10.5.0.0/16 encap ip id 5 dst 198.51.100.9 via 192.168.0.1 dev wlan0 src 192.168.0.23
route 10.6.0.0/16 encap mpls 100/200 ttl 5 via 192.168.0.1 dev wlan0
route6 2001:db8:7::/48 encap seg6 mode encap segs 2001:db8::9,2001:db8::8 dev wlan0
route6 default from 2001:db8::/56 via fe80::1 dev wlan0 expires 0 pref high
config interface "wlan0" { cost = "metered" }   # of the configuration
managed wlan0 192.168.0.0/24 default
connect 198.51.100.7 by wlan0 udp from 192.168.0.23 dev wlan0
connect 2001:db8::9 refused
kernel 198.51.100.7 from 192.168.0.23 has dev wlan0 mtu 1300
doctor none
`

func TestParse(t *testing.T) {
	h, err := Parse([]byte("\n# A laptop\n"+strings.TrimPrefix(laptop, "# A laptop\n")+"# more\n"), "laptop.host")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(laptop, h.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	s := h.All("route")[0]
	if s.Line != 13 || s.Value("via") != "inet6 fe80::1" || s.Value("mtu") != "lock 1300" || !s.Has("onlink") || s.IPv6() {
		t.Errorf("%+v", s)
	}
	path, value, err := h.State[0].Sysctl()
	if path != "net/ipv4/conf/eth0.100/rp_filter" || value != "1" || err != nil {
		t.Error(path, value, err)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"routes default":                            `x:1: "routes" is not a statement`,
		"\nlink":                                    "x:2: link says too little",
		"link a/b":                                  `x:1: "a/b" is not a name of an interface`,
		"link -batch":                               `x:1: "-batch" is not a name of an interface`,
		"link abcdefghijklmnop":                     "x:1: \"abcdefghijklmnop\" is longer than 15 bytes; only altnames may be",
		"link a altname b\nlink b":                  `x:2: "b" is there already`,
		"link a kind":                               "x:1: kind: without its value",
		"link a mtu 1500 mtu 1400":                  "x:1: link says mtu twice",
		"addr 192.0.2.1/33 dev lo":                  `x:1: "192.0.2.1/33" is not an address or a prefix`,
		"addr 192.0.2.1/24":                         "x:1: without dev",
		"addr 192.0.2.1/24 dev eth0":                `x:1: dev: "eth0" is not a link of this host`,
		"addr 192.0.2.1/24 dev lo valid_lft soon":   `x:1: valid_lft: "soon" is not seconds or "forever"`,
		"route default via fe80::1":                 `x:1: the gateway fe80::1 is of the other family: write "via inet6" or "via inet"`,
		"route6 10.0.0.0/8 dev lo":                  "x:1: 10.0.0.0/8 is not an address for route6",
		"route default table big":                   `x:1: table: "big" is not main, default, local or the number of a table`,
		"route default dev lo; reboot":              `x:1: dev: "lo;" is not a link of this host`,
		"rule 1 from all fwmark x":                  `x:1: fwmark: "x" is not a mark such as 0x1/0xff`,
		"route default dev lo realms 3/x":           `x:1: realms: "3/x" is not realms such as 3/5`,
		"rule 1 from all realms 65536":              `x:1: realms: "65536" is not realms such as 3/5`,
		"route default encap":                       "x:1: encap: without its value",
		"route default encap geneve id 1 dev lo":    `x:1: encap: "geneve" is not an encapsulation that a description can express`,
		"route default encap ip id 1 id 2 dev lo":   "x:1: encap: ip says id twice",
		"route default encap ip dst":                "x:1: encap: dst without its value",
		"route default encap ip dst 10.0.0.x":       `x:1: encap: dst: "10.0.0.x" is not an IP address`,
		"route default encap mpls 16/x dev lo":      "x:1: encap: mpls without labels such as 100/200",
		"route6 default encap seg6 segs ::1,":       `x:1: encap: segs: "::1," is not a list of IPv6 addresses such as 2001:db8::1,2001:db8::2`,
		"rule none":                                 `x:1: "none" is not a number of 32 bits`,
		"nexthop via 192.0.2.1 dev lo":              "x:1: without id",
		"nexthop id 1 group 1,x":                    `x:1: group: "1,x" is not a group such as 1,2/3`,
		"sysctl kernel.core_pattern = |x":           `x:1: "kernel.core_pattern" is not a parameter of the network`,
		"sysctl net.ipv4.//.//.x = 1":               `x:1: "net.ipv4.//.//.x" is not a parameter: not a name of an interface`,
		"sysctl net.ipv4.ip_forward":                "x:1: not KEY = VALUE",
		"neigh fe80::1 dev lo lladdr 00:11":         `x:1: lladdr: "00:11" is not an Ethernet address`,
		"connect 192.0.2.1 from 192.0.2.2":          "x:1: connect wants from and dev, or refused",
		`config policy "/tmp/x.so" {}`:              `x:1: config takes only auto, routing, interface, prefix, far_away, avoid_metered, not "policy \"/tmp/x.so\" {}": a description comes from others, and names no files`,
		`config interface "a" { resolvconf = "f" }`: `x:1: config takes only auto, routing, interface, prefix, far_away, avoid_metered, not "interface \"a\" { resolvconf = \"f\" }": a description comes from others, and names no files`,
		"a\nb": "x:1: \"a\" is not a statement\nx:2: \"b\" is not a statement",
	} {
		_, err := Parse([]byte(text), "x")
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%q: %T", text, err)
		}
	}
}

// A description that was read is written in a form that is read as the same. A
// description names only links of its host and parameters below /proc/sys/net. It names
// no files of the host that loads it, and no policies.
func FuzzParse(f *testing.F) {
	f.Add(laptop)
	files, err := filepath.Glob("../../../tests/hosts/*.host")
	if err != nil || len(files) == 0 {
		f.Fatalf("no hosts: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse([]byte(text), "fuzz")
		if err != nil {
			if h != nil {
				t.Error("a host, and an error")
			}
			return
		}
		again, err := Parse([]byte(h.String()), "again")
		if err != nil {
			t.Fatalf("%v in\n%s", err, h)
		}
		if diff := cmp.Diff(h.String(), again.String()); diff != "" {
			t.Errorf("(-once +twice)\n%s", diff)
		}
		for _, line := range h.Config {
			for _, word := range []string{"policy", "logs", "decisions", "state_dir", "socket", "control_socket", "compat_fifo", "metrics", "resolvconf"} {
				if strings.HasPrefix(line, word) {
					t.Errorf("a line of the configuration: %q", line)
				}
			}
		}
		for _, s := range h.All("sysctl") {
			path, _, err := s.Sysctl()
			if err != nil || !filepath.IsLocal(path) || !strings.HasPrefix(path, "net/") || filepath.Clean(path) != path {
				t.Errorf("path %q, %v", path, err)
			}
		}
	})
}
