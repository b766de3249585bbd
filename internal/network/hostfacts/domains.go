package hostfacts

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
)

// Route says which name servers know the names below a domain: those of an interface.
type Route struct {
	Domain    Domain
	Index     int
	Interface string
	Servers   []netip.AddrPort // never empty
	TLS       bool             // ask over TLS only
	Source    string           // the service that says so
}

// Routes lists the routes of all interfaces, by domain. A domain for routing counts on
// every interface, because somebody has configured it there. A search domain, which
// completes short names, counts on tunnels only. Access networks hand out search
// domains by DHCP. A network that handed out "com" would otherwise get the lookups for
// connections over other networks. The root also counts on tunnels only: NetworkManager
// gives it to access networks as well, which means no more there than that their servers
// are for all names. f may be nil.
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
		add := func(domain Domain) {
			list = append(list, Route{Domain: domain, Index: index, Interface: l.Name, Servers: d.Servers, TLS: d.TLS, Source: d.Source})
		}
		if d.Root && tunnel {
			add(Domain{Name: Root, RouteOnly: true})
		}
		for _, domain := range d.Domains {
			if domain.RouteOnly || tunnel {
				add(domain)
			}
		}
	}
	slices.SortFunc(list, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Domain.Name, b.Domain.Name), cmp.Compare(a.Index, b.Index))
	})
	return list
}
