package hostfile

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Private replaces what is private in a description by something else of the same kind,
// and the same text always by the same. Addresses stay within their scope, and those
// that share a prefix still share one of the same length. Names of links stay if they
// have a usual pattern. Link-layer addresses, the title, and what the host should do
// are removed. Each call uses another secret.
func (h *Host) Private() *Host {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	return h.private(key)
}

func (h *Host) private(key [32]byte) *Host {
	p := &privacy{key: key, names: map[string]string{"lo": "lo"}}
	for _, s := range h.State {
		for i, a := range s.Args {
			if s.Verb == "link" && (i == 0 || a.Key == "altname") {
				p.keep(a.Value)
			}
		}
	}
	out := &Host{Title: "A host; addresses and names are replaced"}
	for _, s := range h.State {
		out.State = append(out.State, p.statement(s))
	}
	return out
}

type privacy struct {
	key   [32]byte
	names map[string]string
	count int
}

func (p *privacy) statement(s Statement) Statement {
	g := grammars[s.Verb]
	out := Statement{Verb: s.Verb}
	place := 0
	for _, a := range s.Args {
		k := g.words[a.Key]
		if a.Key == "" && place < len(g.first) {
			k = g.first[place]
			place++
		}
		switch k {
		case address, prefix, selector, gateway:
			a.Value = p.addressText(a.Value)
		case encapsulation:
			a.Value = p.encapsulation(a.Value)
		case device, name:
			a.Value = p.name(a.Value)
		case lladdr:
			continue
		case rest:
			a.Value = p.sysctl(a.Value)
		}
		out.Args = append(out.Args, a)
	}
	return out
}

// common matches names that say nothing about the owner of a host: the kernel's,
// systemd's names by location (systemd.net-naming-scheme(7)), and those of usual
// software.
var common = regexp.MustCompile(`^(` +
	`(eth|wlan|wwan|usb|tun|tap|wg|ppp|br|bond|docker|veth|vnet|virbr|ipsec|vti|xfrm|sit|gre|tailscale|wan|lan|dummy|ib|rmnet|rmnet_data|vpn|vxlan|cni|macvlan|team|vlan)\d{0,4}` +
	`|br-lan|he-ipv6|nordlynx|proton\d?|wg\d?-mullvad|flannel\.\d{1,4}|lxcbr\d|lxdbr\d|podman\d|pppoe-wan\d?|docker_gwbridge|ip6tnl\d|tunl\d|clat` +
	`|(en|wl|ww)(o\d{1,3}|s\d{1,3}|p\d{1,3}s\d{1,3}|P\d{1,5}p\d{1,3}s\d{1,3})(f\d{1,2})?(n[a-z]?\d{1,2}(np\d)?)?(u\d{1,2})*(i\d{1,2})?` +
	`)(\.\d{1,4})?$`)

// keep notes a name that may stay.
func (p *privacy) keep(n string) {
	if common.MatchString(n) {
		p.names[n] = n
	}
}

// name returns the replacement of a name.
func (p *privacy) name(n string) string {
	if v, ok := p.names[n]; ok {
		return v
	}
	for {
		v := fmt.Sprintf("if%d", p.count)
		p.count++
		taken := false
		for _, other := range p.names {
			taken = taken || other == v
		}
		if !taken {
			p.names[n] = v
			return v
		}
	}
}

// sysctl replaces a link's name in a parameter.
func (p *privacy) sysctl(text string) string {
	key, value, _ := strings.Cut(text, "=")
	parts := strings.Split(strings.TrimSpace(key), ".")
	const at = 3 // net.ipv4.conf.NAME.KEY
	if len(parts) > at+1 && !slices.Contains([]string{"all", "default", "lo"}, parts[at]) {
		n := p.name(strings.ReplaceAll(parts[at], "/", "."))
		parts[at] = strings.ReplaceAll(n, ".", "/")
	}
	return strings.Join(parts, ".") + " = " + strings.TrimSpace(value)
}

// addressText replaces an address, a prefix, or a gateway with its family.
func (p *privacy) addressText(v string) string {
	before := ""
	if i := strings.LastIndexByte(v, ' '); i >= 0 {
		before, v = v[:i+1], v[i+1:]
	}
	if a, err := netip.ParseAddr(v); err == nil {
		return before + p.address(a.WithZone(""), a.BitLen()).String()
	}
	n, err := netip.ParsePrefix(v)
	if err != nil {
		return before + v // default, all
	}
	if n == n.Masked() {
		return before + netip.PrefixFrom(p.address(n.Addr(), n.Bits()), n.Bits()).Masked().String()
	}
	return before + netip.PrefixFrom(p.address(n.Addr(), n.Addr().BitLen()), n.Bits()).String()
}

// encapsulation replaces the addresses in an encapsulation, also those in lists.
func (p *privacy) encapsulation(v string) string {
	words := strings.Fields(v)
	for i, w := range words {
		list := strings.Split(w, ",")
		for j, x := range list {
			if _, err := netip.ParseAddr(x); err == nil {
				list[j] = p.addressText(x)
			}
		}
		words[i] = strings.Join(list, ",")
	}
	return strings.Join(words, " ")
}

// public are well-known prefixes: special ones (RFC 6890 and its registries), and those
// of software. Addresses in them are not replaced, and no replacement lies in one.
var public = prefixes("0.0.0.0/8 127.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3 100.100.100.100/32 " +
	"::/3 2001::/23 2001:db8::/32 2002::/16 3fff::/20 fd7a:115c:a1e0::/48 ff00::/8 fe80::/128 fe80::1/128")

// scopes are prefixes that addresses do not leave.
var scopes = prefixes("10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 fe80::/64")

// Other addresses keep these leading bits. A block of that size belongs to thousands of
// providers, so the bits identify nobody. They are needed to recognise the pieces of a VPN's
// default route.
const (
	kept4 = 8
	kept6 = 12
	// kept4Last is the number of last bits of IPv4 addresses that stay. So no host
	// becomes a broadcast address, and gateways keep their usual number.
	kept4Last = 8
)

func prefixes(text string) []netip.Prefix {
	var list []netip.Prefix
	for f := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParsePrefix(f))
	}
	return list
}

// address replaces the first bits of an address one after another. Each is replaced by
// a pseudo-random function of the bits before it, so that prefixes are preserved (Xu,
// Fan, Ammar, Moon: Prefix-preserving IP address anonymization, 2002). Bits that decide
// whether an address lies in a public prefix or a scope are not changed.
func (p *privacy) address(a netip.Addr, bits int) netip.Addr {
	if slices.ContainsFunc(public, func(n netip.Prefix) bool { return n.Contains(a) }) {
		return a
	}
	b := a.AsSlice()
	start := kept6
	if a.Is4() {
		start, bits = kept4, min(bits, 32-kept4Last)
	}
	for i := start; i < bits; i++ {
		before, _ := a.Prefix(i)
		if slices.ContainsFunc(public, before.Overlaps) && !slices.ContainsFunc(public, func(n netip.Prefix) bool { return n.Bits() <= i && n.Contains(a) }) ||
			slices.ContainsFunc(scopes, func(n netip.Prefix) bool { return n.Bits() > i && before.Overlaps(n) }) {
			continue
		}
		m := hmac.New(sha256.New, p.key[:])
		_, _ = fmt.Fprint(m, before.Masked()) // never fails
		b[i/8] ^= m.Sum(nil)[0] & 1 << (7 - i%8)
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}
