package netmon

import "testing"

// Whether a link is a VPN depends not only on its own kind, but also on what carries its
// frames.
func TestCarriers(t *testing.T) {
	t.Parallel()
	link := func(index int, kind string, lower, master int) Link {
		return Link{Index: index, Name: "l", Type: kind, Lower: lower, Master: master}
	}
	for _, tt := range []struct {
		name  string
		links []Link
		want  string // of the first link
	}{
		{"hardware", []Link{link(1, "device", 0, 0)}, ""},
		{"a tunnel, whatever it prefers for its own packets", []Link{link(1, "vxlan", 2, 0), link(2, "device", 0, 0)}, "vxlan"},
		{"a VLAN of a card", []Link{link(1, "vlan", 2, 0), link(2, "device", 0, 0)}, ""},
		{"a VLAN of a VPN", []Link{link(1, "vlan", 2, 0), link(2, "tap", 0, 0)}, "tap"},
		{"a MACVLAN of a VLAN of a VPN", []Link{link(1, "macvlan", 2, 0), link(2, "vlan", 3, 0), link(3, "gretap", 0, 0)}, "gretap"},
		{"a link below that is not there", []Link{link(1, "vlan", 9, 0)}, ""},
		{"a bridge without ports", []Link{link(1, "bridge", 0, 0)}, ""},
		{"a bridge over a VPN", []Link{link(1, "bridge", 0, 0), link(2, "tap", 0, 1)}, "tap"},
		{"and over containers", []Link{link(1, "bridge", 0, 0), link(2, "veth", 0, 1), link(3, "vxlan", 0, 1), link(4, "veth", 0, 1)}, "vxlan"},
		{"over containers only", []Link{link(1, "bridge", 0, 0), link(2, "veth", 0, 1)}, ""},
		{"over a VPN and a card", []Link{link(1, "bridge", 0, 0), link(2, "tap", 0, 1), link(3, "device", 0, 1)}, ""},
		{"over a VLAN of a VPN", []Link{link(1, "bridge", 0, 0), link(2, "vlan", 3, 1), link(3, "tap", 0, 0)}, "tap"},
		{"a VLAN of a bridge over a VPN", []Link{link(1, "vlan", 2, 0), link(2, "bridge", 0, 0), link(3, "tap", 0, 2)}, "tap"},
		{"a bond of two VPNs", []Link{link(1, "bond", 0, 0), link(2, "tap", 0, 1), link(3, "tap", 0, 1)}, "tap"},
		{"a bond of a VPN and a card", []Link{link(1, "bond", 0, 0), link(2, "device", 0, 1), link(3, "tap", 0, 1)}, ""},
		{"a VRF, which has what is routed in it as ports", []Link{link(1, "vrf", 0, 0), link(2, "wireguard", 0, 1)}, ""},
		{"links that stand on each other, which no kernel has", []Link{link(1, "vlan", 2, 0), link(2, "vlan", 1, 0)}, ""},
		{"a bridge that is its own port", []Link{link(1, "bridge", 0, 1)}, ""},
	} {
		s := NewSnapshot(State{Links: tt.links})
		l, _ := s.Link(1)
		if l.carrier != tt.want || l.Tunnel() != (tt.want != "") {
			t.Errorf("%s: carried by %q, a tunnel: %v; want %q", tt.name, l.carrier, l.Tunnel(), tt.want)
		}
	}
}
