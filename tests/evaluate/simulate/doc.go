// Package simulate plays the workloads of the evaluation in virtual time, over
// simulated paths, with the policies that the daemon has: the same code decides,
// from figures that the estimators of internal/network/pathstat compute from what passes.
// An hour of transfers takes seconds, so that whole grids of access links can be
// compared.
//
// What is simulated are TCP segments: slow start from ten of them with HyStart,
// CUBIC, fast recovery, tail loss probes, handshakes, and on each path a link of
// a rate, a delay and a drop-tail queue that all connections share. Left out are:
// the way up (requests and acknowledgements take their delay, but no room),
// delayed acknowledgements, random loss, receive windows, and the time that
// programs need.
//
// Everything is deterministic. A Host must not be used by several goroutines at
// once; different ones are independent.
package simulate
