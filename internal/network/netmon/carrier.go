package netmon

import "slices"

const (
	kindVeth = "veth"
	kindVRF  = "vrf"
)

// neutralPorts are the kinds of ports of a bridge that lead to something on this host, such as
// containers. They tell nothing of the way out.
var neutralPorts = []string{kindVeth, "netkit", kindDummy}

// markCarriers fills in the kind of the tunnel that carries what a link sends: its own
// kind, or that of what it stands on. VLANs, MACVLANs and their like stand on one link. Bridges
// and bonds stand on their ports. One with a port besides by which frames leave without a tunnel is
// taken for no tunnel: which of its ports a frame takes depends on the neighbour.
func markCarriers(links []Link) {
	byIndex := make(map[int]int, len(links))
	ports := map[int][]int{}
	for i := range links {
		byIndex[links[i].Index] = i
		if m := links[i].Master; m != 0 {
			ports[m] = append(ports[m], i)
		}
	}
	var carrier func(i, depth int) string
	carrier = func(i, depth int) string {
		const most = 8 // layers that the kernel permits (MAX_NEST_DEV)
		l := &links[i]
		switch {
		case slices.Contains(tunnelTypes, l.Type):
			return l.Type
		case depth > most || l.Type == kindVRF:
			return "" // the ports of a VRF are no carriers of frames
		}
		if lower, ok := byIndex[l.Lower]; ok && l.Lower != 0 {
			return carrier(lower, depth+1)
		}
		found := ""
		for _, p := range ports[l.Index] {
			switch by := carrier(p, depth+1); {
			case by != "":
				found = by
			case !slices.Contains(neutralPorts, links[p].Type):
				return ""
			}
		}
		return found
	}
	for i := range links {
		links[i].carrier = carrier(i, 0)
	}
}
