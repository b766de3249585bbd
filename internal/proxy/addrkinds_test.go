package proxy

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// For a while, the kernel is asked only once about an address, whoever needs it. It is
// asked again when networks may have changed.
func TestAddrKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := 0, others
		k := newAddrKinds(func(netip.Addr) addrKind { asked++; return answer })
		ip, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
		for range 5 {
			if got := k.of(ip); got != others {
				t.Errorf("%v, want %v", got, others)
			}
		}
		if answer = ownHost; k.of(other) != ownHost || asked != 2 {
			t.Errorf("asked %d times about two addresses", asked)
		}
		if time.Sleep(addrKindFor - time.Millisecond); k.of(ip) != others || asked != 2 {
			t.Errorf("asked %d times before the time was up", asked)
		}
		if time.Sleep(time.Millisecond); k.of(ip) != ownHost || asked != 3 {
			t.Errorf("asked %d times when it was", asked)
		}
		for i := range 3 * maxAddrKinds {
			k.of(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
		}
		if len(k.seen) > maxAddrKinds {
			t.Errorf("%d addresses are remembered", len(k.seen))
		}
	})
}
