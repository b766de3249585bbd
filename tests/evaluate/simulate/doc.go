// Package simulate plays the workloads of the evaluation in virtual time, over
// simulated paths, with the policies that the daemon has: the same code decides,
// from figures that the estimators of internal/network/pathstat compute from what passes.
// An hour of transfers takes seconds, so that whole grids of access links can be
// compared.
//
// The simulation has TCP segments: slow start from ten of them with HyStart,
// CUBIC, fast recovery, tail loss probes, handshakes, and on each path a link with
// a rate, a delay, random loss and a drop-tail queue that all connections share.
// Several paths may share one link. Rates may change, and other programs and other
// hosts may load something, too. A connection is tried over the alternates of a
// decision as the client library does it. The simulation leaves out the way up (requests
// and acknowledgements take their delay, but no room, and are never lost), delayed
// acknowledgements, receive windows, and the time that programs need.
//
// Everything is deterministic. A Host must not be used by several goroutines at
// once; different ones are independent.
package simulate
