// Package routing sees to it that packets from a prefix's addresses leave by
// the prefix's interface: it gives each interface a routing table with its default
// routes, and each address rules that lead there (ip-rule(8)).
//
// For each address there are two rules. The first looks into table main for
// anything but a default route, so that neighbours, container bridges and split
// tunnels are reached as ever; the second takes the table with the default routes.
// Both come directly before the rule of somebody else that would lead the address's packets
// to everywhere, which is mostly that of table main. So they come behind rules that refuse something,
// and behind those of split tunnels. Other tables that the rest of the rules leads to are looked into
// as main is. Where the rest refuses what the address sends, it gets no rules.
//
// A VPN may take everything by many routes to parts of it. What table main says is then
// passed over up to the length of the longest of these; what else it leads elsewhere of such a
// length, the own table has the kernel look for in main (throw).
//
// Where another interface has the very same network, table main could lead to
// the wrong one's neighbours; then a rule before the others takes a table with the neighbours of the
// address's own interface. Where another interface has the very same address, the
// rules are for sockets that are bound to the interface.
//
// A copy is made of what the route is made of: metrics, gateways and weights, next-hop
// objects, the preference of a router and the end of its life (oracle.Route). Routers that
// IPv6 keeps apart stay apart.
//
// So a route is copied once at most, whatever number of prefixes its interface
// has, and an ordinary one not at all. Prefixes of an interface share its table
// of default routes, unless several providers are on the link: then those whose
// network holds a gateway have a table with the gateways that are theirs.
//
// Whatever the package adds carries Protocol, in rules and in routes, and only
// what carries it is ever changed or removed. So what a crash leaves behind is
// found, and two runs give the same result as one.
package routing
