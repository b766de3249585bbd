// Package routing sees to it that packets from a prefix's addresses leave by
// the prefix's interface: it gives each interface a routing table with its default
// routes, and each address rules that lead there (ip-rule(8)).
//
// For each address there are two rules. The first looks into table main for
// anything but a default route, so that neighbours, container bridges and split
// tunnels are reached as ever; the second takes the table with the default routes.
// Where another interface has the very same network, table main could lead to
// the wrong one; the first rule then takes a table with what the address's own
// interface has in table main, default routes excepted.
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
