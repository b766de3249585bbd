package oracle

import (
	"net/netip"
	"testing"
)

// table answers as a routing table would: by the longest prefix that contains a
// destination.
type table map[string]int // interfaces by prefix

func (t table) Match(q Question) (Answer, error) {
	best := Answer{}
	for text, index := range t {
		p := netip.MustParsePrefix(text)
		if p.Contains(q.Dst) && (q.Device == 0 || q.Device == index) && (!best.Prefix.IsValid() || p.Bits() > best.Prefix.Bits()) {
			best = Answer{Verdict: Sent, Prefix: p, Table: TableMain, Hop: Hop{Index: index}}
		}
	}
	return best, nil
}

func (t table) Source(q Question) (netip.Addr, Hop, error) { return netip.Addr{}, Hop{}, nil }

// One half of IPv4 is not the whole Internet, whichever half it is, in one route or in
// several.
func TestHalfIsNotEverywhere(t *testing.T) {
	t.Parallel()
	const uplink, vpn = 2, 3
	for _, tt := range []struct {
		name   string
		routes table
		device int
		want   int // interface; 0: nowhere
	}{
		{"both halves", table{"0.0.0.0/0": uplink, "0.0.0.0/1": vpn, "128.0.0.0/1": vpn}, 0, vpn},
		{"the lower half", table{"0.0.0.0/0": uplink, "0.0.0.0/1": vpn}, 0, uplink},
		{"the upper half", table{"0.0.0.0/0": uplink, "128.0.0.0/1": vpn}, 0, uplink},
		{"the lower half in pieces", table{"0.0.0.0/0": uplink, "0.0.0.0/2": vpn, "64.0.0.0/2": vpn}, 0, uplink},
		{"three quarters", table{"0.0.0.0/0": uplink, "0.0.0.0/1": vpn, "128.0.0.0/2": vpn}, 0, vpn},
		{"a half by the VPN's device", table{"0.0.0.0/0": uplink, "0.0.0.0/1": vpn}, vpn, 0},
		{"a half by the uplink's device", table{"0.0.0.0/0": uplink, "0.0.0.0/1": vpn}, uplink, uplink},
		{"a half and nothing else", table{"0.0.0.0/1": vpn}, 0, 0},
		{"a half by each of two", table{"0.0.0.0/1": uplink, "128.0.0.0/1": vpn}, 0, uplink},
		{"no route", table{}, 0, 0},
	} {
		w, err := Everywhere{}.Far(tt.routes, false, Question{Device: tt.device})
		if err != nil || w.Index != tt.want || (w.Verdict == Sent) != (tt.want != 0) {
			t.Errorf("%s: %+v, %v; want interface %d", tt.name, w, err, tt.want)
		}
	}
	// All IPv6 addresses in use lie in the lower half.
	if w, err := (Everywhere{}).Far(table{"::/0": uplink, "::/1": vpn}, true, Question{}); err != nil || w.Index != vpn {
		t.Errorf("IPv6: %+v, %v", w, err)
	}
}
