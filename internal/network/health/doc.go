// Package health judges whether prefixes can be expected to work. A Tracker is
// told what the kernel says of links and routes, how the connects of clients
// end, which connections are not acknowledged any more and what probes find,
// and keeps a state with a reason for each prefix: up, suspect or down.
//
// What each piece of evidence can do is graded by who could forge it. The
// kernel's link state counts at once and for all. A client's report counts for
// its own user only: the prefix is not offered to that user for a while, and is
// merely suspect to the others. It counts for all once the kernel sees
// connections on the prefix that are not acknowledged either, or a probe fails.
//
// The package does no I/O and has no clock: times are passed in.
package health
