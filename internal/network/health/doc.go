// Package health judges whether prefixes can be expected to work. A Tracker keeps
// a state with a reason for each prefix: up, suspect or down. The evidence is what
// the kernel says of links and routes, how the connects of clients end, which
// connections are not acknowledged any more, and what probes find.
//
// The weight of evidence depends on who could forge it. The kernel's link state
// counts at once and for all users. A client's report counts for the client's own
// user only: the prefix is not offered to this user for a while, and is suspect
// for the other users. The report counts for all users once the kernel sees
// unacknowledged connections on the prefix as well, or a probe fails.
//
// The package does no I/O and has no clock: callers pass times in.
package health
