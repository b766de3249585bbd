package wire

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// network makes the value of a network TLV from the length of the prefix, the number of
// addresses, the lengths of the texts, and what follows.
func network(bits, addrs byte, lengths [4]byte, rest string) []byte {
	v := zeros(networkSize, map[int]byte{88: bits, 89: addrs, 90: lengths[0], 91: lengths[1], 92: lengths[2], 93: lengths[3]})
	v = append(v, 2, 0, 0, 0, 192, 0, 2, 0)
	return append(append(v, make([]byte, 8)...), rest...)
}

func TestBadNetworks(t *testing.T) {
	var none [4]byte
	for _, tt := range []struct {
		name string
		v    []byte
		want error
	}{
		{"short", make([]byte, networkSize-1), errLength},
		{"no address", make([]byte, networkSize), errLength},
		{"a prefix of an address within it", network(16, 0, none, ""), errPrefix},
		{"more bits than the family has", network(33, 0, none, ""), errPrefix},
		{"texts that are not there", network(24, 0, [4]byte{4, 1, 0, 0}, "eth0"), errTruncated},
		{"a NUL", network(24, 0, [4]byte{4, 0, 0, 0}, "et\x000"), errNUL},
		{"addresses that are not there", network(24, 1, none, ""), errLength},
		{"too many addresses", network(24, 17, none, strings.Repeat("\x02\x00\x00\x00\xc0\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00", 17)), errNetwork},
		{"whole", network(24, 0, [4]byte{4, 0, 0, 0}, "eth0 and what later versions add"), nil},
	} {
		var m Message
		err := Decode(message(tlv(TagNetwork, tt.v...)), &m)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if (err == nil) != (len(m.Networks) == 1) {
			t.Errorf("%s: %d networks", tt.name, len(m.Networks))
		}
	}
	if err := Decode(message(tlv(TagWatch, make([]byte, watchSize-1)...)), new(Message)); !errors.Is(err, errLength) {
		t.Errorf("a short watch: %v", err)
	}
}

// If there are more networks than a message has room for, the last ones are left out.
func TestNetworksFit(t *testing.T) {
	m := Message{Action: ActionNetworksResponse, Networks: make([]Network, 300)}
	for i := range m.Networks {
		m.Networks[i] = Network{Index: uint32(i), Prefix: netip.MustParsePrefix("192.0.2.0/24"), Interface: "wlan0"}
	}
	if _, err := m.Append(nil); !errors.Is(err, ErrTooLong) {
		t.Errorf("Append: %v", err)
	}
	b, dropped, err := m.AppendFit(nil)
	if err != nil || len(b) > MaxMessage || len(b) < MaxMessage-200 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	var got Message
	if err := Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	if n := len(got.Networks); n+dropped != len(m.Networks) || n < 100 || got.Networks[n-1].Index != uint32(n-1) {
		t.Errorf("%d networks, and %d left out", n, dropped)
	}
}

// A text or list that is too long for a message is cut. It is not an error.
func TestNetworkBounds(t *testing.T) {
	n := Network{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Reason: strings.Repeat("ä", 200), Addrs: make([]netip.Addr, 20)}
	for i := range n.Addrs {
		n.Addrs[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	n.Bounds()
	m := Message{Networks: []Network{n}}
	if _, err := m.Append(nil); err != nil {
		t.Fatal(err)
	}
	if len(n.Addrs) != maxNetworkAddrs || n.Reason != strings.Repeat("ä", 127) {
		t.Errorf("%d addresses, %q", len(n.Addrs), n.Reason)
	}
}
