package hostfacts

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
)

// Route says that the names below a domain are known to the name servers of an interface.
type Route struct {
	Domain    Domain
	Index     int
	Interface string
	Servers   []netip.AddrPort // never empty
	TLS       bool             // to be asked by DNS over TLS only
}

// Routes lists, by domain, those of the host's interfaces. A domain that is for routing
// counts on each interface: somebody wrote it there. One that completes short names counts
// on tunnels only: access networks hand theirs out by DHCP, and none is to get the names
// of, say, "com" that are asked for connections over another network. f may be nil.
func (f *Facts) Routes(nets *netmon.Snapshot) []Route {
	var list []Route
	if f == nil {
		return nil
	}
	for index, d := range f.dns {
		l, ok := nets.Link(index)
		if !ok || len(d.Servers) == 0 {
			continue
		}
		tunnel := l.Tunnel() || f.Link(l.Name).VPN
		for _, domain := range d.Domains {
			if domain.RouteOnly || tunnel {
				list = append(list, Route{Domain: domain, Index: index, Interface: l.Name, Servers: d.Servers, TLS: d.TLS})
			}
		}
	}
	slices.SortFunc(list, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Domain.Name, b.Domain.Name), cmp.Compare(a.Index, b.Index))
	})
	return list
}
