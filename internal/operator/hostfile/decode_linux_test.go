package hostfile

import (
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// These are a route to 20.0.0.0/8 by a next hop with realm 3 and one with realms 2/4, and a
// rule with realms 3/5.
const (
	realmsRoute = "\x02\x08\x00\x00\xfe\x03\x00\x01\x00\x00\x00\x00\x08\x00\x01\x00\x14\x00\x00\x00\x34\x00\x09\x00" +
		"\x18\x00\x00\x01\x02\x00\x00\x00\x08\x00\x05\x00\xc0\x00\x02\x01\x08\x00\x0b\x00\x03\x00\x00\x00" +
		"\x18\x00\x00\x00\x02\x00\x00\x00\x08\x00\x05\x00\xc0\x00\x02\x02\x08\x00\x0b\x00\x04\x00\x02\x00"
	realmsRule = "\x02\x00\x00\x00\x3c\x00\x00\x01\x00\x00\x00\x00\x08\x00\x06\x00\x6d\x00\x00\x00\x08\x00\x0b\x00\x05\x00\x03\x00"
)

// A route by MPLS with labels 100 and 200, which few kernels have, and one with an encapsulation that
// no description has words for (options of Geneve).
const (
	mplsRoute   = "\x02\x08\x00\x00\xfe\x03\x00\x01\x00\x00\x00\x00\x08\x00\x01\x00\x14\x00\x00\x00\x08\x00\x04\x00\x02\x00\x00\x00\x06\x00\x15\x00\x01\x00\x00\x00\x18\x00\x16\x00\x0c\x00\x01\x00\x00\x06\x40\x00\x00\x0c\x81\x00\x05\x00\x02\x00\x40\x00\x00\x00"
	geneveRoute = "\x02\x08\x00\x00\xfe\x03\x00\x01\x00\x00\x00\x00\x08\x00\x01\x00\x14\x00\x00\x00\x08\x00\x04\x00\x02\x00\x00\x00\x06\x00\x15\x00\x02\x00\x00\x00\x08\x00\x16\x00\x04\x00\x08\x80"
)

func TestEncapsulations(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("needs a little-endian machine, as the messages above are of one")
	}
	route, ok, err := decodeRoute([]byte(mplsRoute), linkNames{2: "eth0"})
	if want := "route 20.0.0.0/8 encap mpls 100/200 ttl 64 dev eth0 scope global"; !ok || err != nil || route.String() != want {
		t.Errorf("%v, %v, %v, want %s", route, ok, err, want)
	}
	if route, ok, err = decodeRoute([]byte(geneveRoute), linkNames{2: "eth0"}); ok || err != nil {
		t.Errorf("%v, %v, %v: it would be another route", route, ok, err)
	}
}

// The realms of each next hop and of a rule are kept.
func TestRealms(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("needs a little-endian machine, as the messages above are of one")
	}
	route, ok, err := decodeRoute([]byte(realmsRoute), linkNames{2: "eth0"})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	rule, ok, err := decodeRule([]byte(realmsRule))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	for got, want := range map[*Statement]string{
		route: "route 20.0.0.0/8 nexthop via 192.0.2.1 dev eth0 realms 3 weight 2 nexthop via 192.0.2.2 dev eth0 realms 2/4 weight 1",
		rule:  "rule 109 from all lookup 60 realms 3/5",
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whatever the kernel could send becomes an error or a statement of this language.
func FuzzDecode(f *testing.F) {
	for _, command := range []netlink.HeaderType{unix.RTM_GETRULE, unix.RTM_GETROUTE} {
		for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
			request := append([]byte{family}, make([]byte, headerLen-1)...)
			if err := dump(command, request, func(b []byte) error { f.Add(b); return nil }); err != nil {
				f.Fatal(err)
			}
		}
	}
	// This is a route by two next hops with metrics, and a group of next-hop objects.
	f.Add([]byte("\x02\x00\x00\x00\xfe\x03\x00\x01\x00\x00\x00\x00\x0c\x00\x08\x00\x08\x00\x02\x00\x14\x05\x00\x00\x14\x00\x09\x00\x10\x00\x04\x02\x02\x00\x00\x00\x08\x00\x05\x00\xc0\x00\x02\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01\x00\x0a\x00\x00\x00\x14\x00\x02\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"))
	// This is the same route with realms, and a rule with realms of source and destination.
	f.Add([]byte(realmsRoute))
	f.Add([]byte(realmsRule))
	f.Add([]byte(mplsRoute))
	f.Add([]byte(geneveRoute))
	f.Fuzz(func(t *testing.T, b []byte) {
		names := linkNames{1: "lo", 2: "eth0"}
		for _, decode := range []func([]byte) (*Statement, bool, error){
			decodeRule,
			func(b []byte) (*Statement, bool, error) { return decodeRoute(b, names) },
			func(b []byte) (*Statement, bool, error) { return decodeNexthop(b, names) },
		} {
			s, ok, err := decode(b)
			if ok != (s != nil) || ok && err != nil {
				t.Errorf("%v, %v, %v", s, ok, err)
			}
			if !ok {
				continue
			}
			g, known := grammars[s.Verb]
			for _, a := range s.Args {
				if _, is := g.words[a.Key]; !known || a.Key != "" && !is && types[unix.RTN_BLACKHOLE] != a.Key && a.Key != "unreachable" && a.Key != "prohibit" && a.Key != "throw" && a.Key != "local" {
					t.Errorf("%v: %q is not a word of it", s, a.Key)
				}
			}
		}
	})
}
