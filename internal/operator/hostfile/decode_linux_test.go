package hostfile

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What the kernel could send becomes a statement or an error, and nothing that is
// not one of this language.
func FuzzDecode(f *testing.F) {
	for _, command := range []netlink.HeaderType{unix.RTM_GETRULE, unix.RTM_GETROUTE} {
		for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
			request := append([]byte{family}, make([]byte, headerLen-1)...)
			if err := dump(command, request, func(b []byte) error { f.Add(b); return nil }); err != nil {
				f.Fatal(err)
			}
		}
	}
	// A route by two next hops with metrics, and a group of next-hop objects.
	f.Add([]byte("\x02\x00\x00\x00\xfe\x03\x00\x01\x00\x00\x00\x00\x0c\x00\x08\x00\x08\x00\x02\x00\x14\x05\x00\x00\x14\x00\x09\x00\x10\x00\x04\x02\x02\x00\x00\x00\x08\x00\x05\x00\xc0\x00\x02\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01\x00\x0a\x00\x00\x00\x14\x00\x02\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"))
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
					t.Errorf("%v: %q is no word of it", s, a.Key)
				}
			}
		}
	})
}
