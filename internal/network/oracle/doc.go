// Package oracle asks the kernel what it would do with packets, instead of
// working it out from routing tables: rules, source-specific routes, marks, next-hop
// objects, router preferences and whatever comes next are then right without
// being known here. The question is RTM_GETROUTE of rtnetlink(7); nothing is
// sent by asking.
//
// A [Kernel] answers single questions. [Far] draws a conclusion about
// "everywhere" from the answers for several destinations that differ. A [Reacher]
// tells which interfaces lead to a destination, and remembers.
//
// Nothing else in this repository concludes from routes where packets go.
package oracle
