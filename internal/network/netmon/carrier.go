package netmon

import "slices"

const (
	kindVeth = "veth"
	kindVRF  = "vrf"
)

// neutralPorts are the kinds of bridge ports that lead to something on this host, such
// as containers. They say nothing about the way out.
var neutralPorts = []string{kindVeth, "netkit", kindDummy}

// markCarriers fills in the kind of tunnel that carries what a link sends. That is the
// link's own kind, or the kind of the links below it. VLANs, MACVLANs and the like have
// one link below them; bridges and bonds have their ports. If frames can also leave by
// a port without a tunnel, the bridge or bond does not count as a tunnel, because the
// neighbour determines which port a frame takes.
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
		const most = 8 // the kernel permits no more layers (MAX_NEST_DEV)
		l := &links[i]
		switch {
		case slices.Contains(tunnelTypes, l.Type):
			return l.Type
		case depth > most || l.Type == kindVRF:
			return "" // a VRF's ports carry no frames for it
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
