package hostfile

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Addresses that share a prefix still share one of the same length, and no longer one. No
// address enters or leaves a known prefix or a scope.
func TestPrivateAddresses(t *testing.T) {
	all := append(append([]netip.Prefix{}, public...), scopes...)
	draw := rapid.Custom(func(t *rapid.T) netip.Addr {
		n := rapid.SampledFrom(append(all, prefixes("0.0.0.0/0 ::/0 192.0.0.0/16 2000::/3 fc00::/7")...)).Draw(t, "network")
		b := rapid.SliceOfN(rapid.Byte(), n.Addr().BitLen()/8, n.Addr().BitLen()/8).Draw(t, "bytes")
		own := n.Addr().AsSlice()
		for i := range n.Bits() {
			mask := byte(1) << (7 - i%8)
			b[i/8] = b[i/8]&^mask | own[i/8]&mask
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	})
	common := func(a, b netip.Addr) int {
		n := 0
		for n < a.BitLen() {
			if p, _ := a.Prefix(n + 1); !p.Contains(b) {
				break
			}
			n++
		}
		return n
	}
	rapid.Check(t, func(t *rapid.T) {
		p := &privacy{}
		copy(p.key[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		x, y := p.address(a, a.BitLen()), p.address(b, b.BitLen())
		if a.Is4() == b.Is4() && common(a, b) != common(x, y) {
			t.Errorf("%v and %v share %d bits, %v and %v %d", a, b, common(a, b), x, y, common(x, y))
		}
		for _, n := range all {
			if n.Contains(a) != n.Contains(x) {
				t.Errorf("%v becomes %v: one of them is in %v", a, x, n)
			}
		}
	})
}

// A description without private data is still a description, and tells nothing that it
// should not.
func TestPrivate(t *testing.T) {
	const text = `# Ann's laptop
sysctl net.ipv4.conf.ann/7.rp_filter = 1
link ann.7 altname enx0123456789ab
link wlp2s0
link eth0.100 kind vlan
addr 192.168.178.23/24 dev ann.7
addr 2a02:8108:1:2:3:4ff:fe05:6/64 dev wlp2s0
addr fe80::3:4ff:fe05:6/64 dev wlp2s0
neigh 192.168.178.1 dev ann.7 lladdr 01:23:45:67:89:ab nud reachable
rule 100 from 192.168.178.0/24 iif ann.7 lookup 7
rule 101 from all iif gone lookup 7
route default via 192.168.178.1 dev ann.7 src 192.168.178.23
route 0.0.0.0/1 dev wlp2s0
route 93.184.0.0/16 dev wlp2s0
route6 default via fe80::1 dev wlp2s0
route6 2a02:8108:9::/48 encap seg6 mode encap segs 2a02:8108:1:2::9,2a02:8108:1:2::8 dev wlp2s0
config interface "secret" {}
managed ann.7 192.168.178.0/24
`
	h, err := Parse([]byte(text), "ann")
	if err != nil {
		t.Fatal(err)
	}
	private := h.private([32]byte{1})
	got := private.String()
	if _, err := Parse([]byte(got), "private"); err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	for _, s := range []string{"ann", "Ann", "gone", "0123456789ab", "01:23", "178.23", "2a02:8108", "4ff:fe05", "93.184", "secret", "managed"} {
		if strings.Contains(got, s) {
			t.Errorf("%q is in\n%s", s, got)
		}
	}
	for _, s := range []string{"192.168.", "wlp2s0", "eth0.100", "0.0.0.0/1", "via fe80::1 ", "2a0", "fe80::"} {
		if !strings.Contains(got, s) {
			t.Errorf("%q is not in\n%s", s, got)
		}
	}
	route, addr := private.All("route")[0], private.All("addr")[0]
	net, err := netip.ParsePrefix(addr.Args[0].Value)
	if err != nil || net.Bits() != 24 || !net.Contains(netip.MustParseAddr(route.Value("via"))) || net.Addr().String() != route.Value("src") || route.Value("dev") != "if0" {
		t.Errorf("%v does not fit %v", &route, &addr)
	}
	if once := h.Private().String(); once == h.Private().String() {
		t.Error("the secret is the same each time")
	}
}

// For each host in the library, the same can be said as before.
func TestPrivateLibrary(t *testing.T) {
	files, err := filepath.Glob("../../../tests/hosts/*.host")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hosts: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		h, err := Parse(b, f)
		if err != nil {
			t.Fatal(err)
		}
		p := h.Private()
		if _, err := Parse([]byte(p.String()), f); err != nil {
			t.Errorf("%v\n%s", err, p)
		}
		if len(p.State) != len(h.State) {
			t.Errorf("%s: %d statements of %d", f, len(p.State), len(h.State))
		}
	}
}
