// Package routing makes packets from a prefix's addresses leave by the prefix's
// interface. For this it gives each interface a routing table with its default routes,
// and each address rules that lead to the table (ip-rule(8)).
//
// Each address has two rules. The first looks into table main for everything but a
// default route, so that neighbours, container bridges and split tunnels are reached as
// before. The second leads to the table with the default routes. Both are placed
// directly before the first rule of another program that would lead the address's
// packets to everywhere, which is mostly the rule for table main. So they come after
// rules that refuse something, and after those of split tunnels. If later rules lead to
// other tables, these are looked into like main. If the later rules refuse the
// address's packets, it gets no rules.
//
// A VPN may take all traffic by many routes to parts of the address space. The first
// rule then ignores routes in table main up to the length of the longest of these.
// Table main may have other routes of such a length that lead elsewhere. For those, the
// own table tells the kernel to look into main (throw).
//
// If another interface has the same network, table main could lead to the wrong
// neighbours. A rule before the others then leads to a table with the neighbours on the
// address's own interface. If another interface has the same address, the rules are
// only for sockets that are bound to the interface.
//
// A copy of a route has everything that the route has: metrics, gateways and weights,
// next-hop objects, the preference of a router and the end of its lifetime
// (oracle.Route). Routers that IPv6 keeps apart stay apart.
//
// A route is copied at most once, whatever the number of its interface's prefixes, and
// an ordinary route is not copied at all. All prefixes of an interface share its table
// of default routes, unless several providers are on the link. In that case, a prefix
// whose network contains a gateway has a table of its own with these gateways.
//
// Everything that the package adds carries Protocol, in rules and in routes. Only what
// carries it is ever changed or removed. So the leftovers of a crash are found, and two
// runs have the same result as one.
package routing
