package daemon

import (
	"context"
	"net/netip"
	"strings"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/resolve"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// domains says for which domains an interface's name servers are asked, whatever
// network the connection takes. It never changes once made. nil has no domains.
type domains struct {
	routes []domainRoute
}

// domainRoute is a domain with the resolver to ask.
type domainRoute struct {
	domain hostfacts.Domain
	index  int // of the interface
	lookup lookup
}

// of returns the resolver for a name, by the domain with the most labels that contains
// the name. It returns nil if no domain does. If several interfaces have that domain,
// the one with the given index is preferred. The root counts only if root is true.
func (d *domains) of(host string, index int, root bool) *domainRoute {
	if d == nil {
		return nil
	}
	host = strings.TrimSuffix(host, ".")
	var best *domainRoute
	for i := range d.routes {
		r := &d.routes[i]
		switch {
		case !r.domain.Covers(host), r.domain.Name == hostfacts.Root && !root:
		case best == nil, r.domain.Labels() > best.domain.Labels(), r.domain.Labels() == best.domain.Labels() && r.index == index:
			best = r
		}
	}
	return best
}

// routed is a resolver that passes names on to the resolvers of their domains.
type routed struct {
	lookup
	index   int // of the interface that is preferred; 0: none
	domains *domains
	// configured tells that the configuration names the servers of lookup. No service's
	// word that others are for all names overrules that.
	configured bool
}

// Lookup implements mam.Resolver. A name in a domain is looked up only at that domain's
// servers, so that no other server learns of the name.
func (r routed) Lookup(ctx context.Context, host string, f policy.Family) (mam.Result, error) {
	if route := r.domains.of(host, r.index, !r.configured); route != nil {
		return route.lookup.Lookup(ctx, host, f)
	}
	return r.lookup.Lookup(ctx, host, f)
}

// For implements mam.NameRouter.
func (r routed) For(host string) (other mam.Resolver, domain string) {
	if route := r.domains.of(host, r.index, !r.configured); route != nil {
		return route.lookup, route.domain.Name
	}
	return nil, ""
}

// routeNames makes the domains that are known for the interfaces and that the
// configuration permits. If the configuration names a network's servers, those are
// asked.
func (r *resolvers) routeNames(cfg *config.Config, nets *netmon.Snapshot, list []managed, facts *hostfacts.Facts, used map[string]*resolve.Resolver) *domains {
	if cfg.Original {
		return nil
	}
	var d domains
	for _, route := range facts.Routes(nets) {
		if !asksLink(cfg, nets, route.Index) {
			continue
		}
		to := lookup{r.unbound}
		if !route.TLS {
			servers := resolve.LinkOnly(route.Servers, route.Interface)
			if len(servers) == 0 {
				continue
			}
			c := resolve.Config{Servers: servers, Device: route.Interface}
			if cfg.BindDevice == config.BindNever {
				c.Device = ""
				c.BindTo = sourceOn(nets, route.Index, servers[0].Addr())
			}
			to = lookup{r.get(c, used)}
		}
		if own := configuredOn(list, route.Index); own != nil {
			to = lookup{r.get(*own, used)}
		}
		d.routes = append(d.routes, domainRoute{domain: route.Domain, index: route.Index, lookup: to})
	}
	if len(d.routes) == 0 {
		return nil
	}
	return &d
}

// asksLink tells whether the configuration permits asking an interface's own name
// servers.
func asksLink(cfg *config.Config, nets *netmon.Snapshot, index int) bool {
	l, ok := nets.Link(index)
	if !ok {
		return false
	}
	for _, p := range nets.Prefixes() {
		if p.Index != index {
			continue
		}
		if s := cfg.Settings(l.Name, p.Prefix, l.AltNames...); s.LinkDNS != nil && !*s.LinkDNS {
			return false
		}
	}
	return true
}

// configuredOn returns the resolver setup of a managed prefix on the interface whose
// name servers the configuration gives; nil if there is none.
func configuredOn(list []managed, index int) *resolve.Config {
	for i := range list {
		m := &list[i]
		if m.prefix.Index == index && m.dnsSource() == configured {
			c := m.resolverSetup()
			return &c
		}
	}
	return nil
}

// sourceOn returns the first address of an interface that has the family of a; invalid
// if there is none.
func sourceOn(nets *netmon.Snapshot, index int, a netip.Addr) netip.Addr {
	for _, p := range nets.Prefixes() {
		if p.Index == index && p.Addrs[0].Is4() == a.Is4() && p.Scope == netmon.ScopeGlobal {
			return p.Addrs[0]
		}
	}
	return netip.Addr{}
}

// route wraps resolvers, so that they pass on the names in domains.
func (d *domains) route(list []managed, own map[policy.PrefixID]mam.Resolver, unbound lookup) (map[policy.PrefixID]mam.Resolver, mam.Resolver) {
	if d == nil {
		return own, unbound
	}
	out := make(map[policy.PrefixID]mam.Resolver, len(own))
	for i := range list {
		id := list[i].prefix.ID
		if l, ok := own[id].(lookup); ok {
			out[id] = routed{l, list[i].prefix.Index, d, list[i].dnsSource() == configured}
		}
	}
	return out, routed{lookup: unbound, domains: d}
}
