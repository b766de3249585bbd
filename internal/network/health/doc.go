// Package health judges whether prefixes are expected to work. A Tracker keeps a state
// with a reason for each prefix: up, suspect or down. There are four kinds of evidence:
// what the kernel says about links and routes, how clients' connects end, which
// connections no longer get acknowledgements, and what probes find.
//
// The weight of evidence depends on who could forge it. The kernel's link state counts
// at once and for all users. A client's report counts only for the client's own user:
// for a while the prefix is not offered to this user, and is suspect for others. The
// report counts for all users once other evidence confirms it: the kernel sees
// unacknowledged connections on the prefix, or a probe fails.
//
// The package does no I/O and has no clock: callers pass times in.
package health
