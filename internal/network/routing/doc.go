// Package routing sees to it that packets from a prefix's addresses leave by
// the prefix's interface: it gives each prefix a routing table with the routes
// of its interface, and rules by source address that lead there (ip-rule(8)).
//
// For each address there are two rules. The first looks into table main for
// anything but a default route, so that neighbours, container bridges and split
// tunnels are reached as ever; the second takes the prefix's own table, whose
// default route is the interface's. Where another interface has the very same
// network, the first is left out, as it could lead to the wrong one.
//
// Whatever the package adds carries Protocol, in rules and in routes, and only
// what carries it is ever changed or removed. So what a crash leaves behind is
// found, and two runs give the same result as one.
package routing
