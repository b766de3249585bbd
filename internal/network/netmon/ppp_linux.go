package netmon

import (
	"cmp"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// pppoeMTU is the MTU that PPPoE leaves of an Ethernet frame (RFC 2516, section 7).
// VPNs run inside of packets and have a smaller one. The MTU is needed to tell PPPoE
// that is not done by the kernel, which has no list of it.
const pppoeMTU = 1492

// readPPP fills in what is known about PPP links.
func (r *source) readPPP(links []Link) {
	if !slices.ContainsFunc(links, func(l Link) bool { return l.Type == kindPPP }) {
		return
	}
	sessions, carried := 0, []string(nil)
	if r.own {
		// A kernel without PPPoE or L2TP lacks the file.
		pppoe, _ := os.ReadFile("/proc/net/pppoe")
		l2tp, _ := os.ReadFile("/proc/net/pppol2tp")
		sessions, carried = pppoeSessions(string(pppoe)), l2tpLinks(string(l2tp))
	}
	markPPP(links, sessions, carried)
}

// markPPP tells PPP links apart. It knows the number of the kernel's PPPoE sessions,
// and which links use L2TP, but not which links the sessions are. A link that runs
// inside of another one has the smaller MTU, and was made later.
func markPPP(links []Link, sessions int, l2tp []string) {
	var rest []*Link
	for i := range links {
		l := &links[i]
		if l.Type != kindPPP {
			continue
		}
		if l.L2TP = slices.Contains(l2tp, l.Name); !l.L2TP {
			rest = append(rest, l)
		}
	}
	slices.SortStableFunc(rest, func(a, b *Link) int {
		return cmp.Or(cmp.Compare(b.MTU, a.MTU), cmp.Compare(a.Index, b.Index))
	})
	for i, l := range rest {
		l.PPPoE = i < sessions || l.MTU == pppoeMTU
	}
}

// pppoeSessions counts the lines of /proc/net/pppoe after the heading.
func pppoeSessions(text string) int { return max(strings.Count(text, "\n")-1, 0) }

// l2tpLinks finds the interfaces in /proc/net/pppol2tp.
func l2tpLinks(text string) (list []string) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "interface" {
			list = append(list, f[1])
		}
	}
	return list
}

// readDetours reads the routes for State.Detours. They are read again each time,
// because hosts with many routes have too many events to follow them.
func (r *source) readDetours(state *State) error {
	state.Detours = nil
	if !slices.ContainsFunc(state.Links, func(l Link) bool { return l.Up && l.Type == kindPPP && !l.PPPoE && !l.L2TP }) {
		return nil
	}
	direct := map[int]bool{} // links without neighbours, whose routes need no gateway
	for _, l := range state.Links {
		direct[l.Index] = l.PointToPoint
	}
	for _, v6 := range []bool{false, true} {
		err := r.kernel.Routes(oracle.Filter{V6: v6, Table: TableMain}, func(route *oracle.Route) bool {
			if detour(route, direct) {
				for _, index := range route.Devices() {
					if !slices.Contains(state.Detours, index) {
						state.Detours = append(state.Detours, index)
					}
				}
			}
			return true
		})
		if err != nil && !errors.Is(err, oracle.ErrInterrupted) {
			return err
		}
	}
	slices.Sort(state.Detours)
	return nil
}

// shared are the addresses that providers use behind their own address translation (RFC
// 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// detour tells whether a route leads to a single host, or to a public network, by a
// gateway or a point-to-point link that somebody chose. Private networks do not count:
// they are other sites, which hardly contain a VPN server.
func detour(r *oracle.Route, direct map[int]bool) bool {
	a := r.Prefix.Addr()
	if !r.Leads() || r.Wide() || !a.IsGlobalUnicast() || !r.Prefix.IsSingleIP() && (a.IsPrivate() || shared.Contains(a)) {
		return false
	}
	switch r.Protocol {
	case unix.RTPROT_KERNEL, unix.RTPROT_REDIRECT, unix.RTPROT_DHCP, unix.RTPROT_RA:
		return false
	}
	return slices.ContainsFunc(r.Hops, func(s oracle.Step) bool { return s.Gateway.IsValid() || direct[s.Index] })
}
