// Package census counts the live TCP connections of users and programs on each network.
//
// It joins two sources. The kernel lists all connections with their owners, but a
// moment late, and without the program (inet_diag; package pathstat reads it). Clients
// report which decision led to which connection, so that the program is known. But they
// do not report the end of a connection, and some report nothing.
//
// The walk of one connection:
//
//	Decided     a decision names a network: the connection counts there as expected
//	Reported    the client says over which candidate it came about, and its local port
//	Connection  the kernel lists a connection of that user with that port, or of the
//	            inode that the client named: it is the one, and known by its inode
//	End         a pass of the kernel's list without it: it has ended
//
// An expected connection is added to the listed ones of its user until it is listed
// itself. A listed connection may be new, untracked and not reported yet. It is then
// taken for an expected one, so that it does not count twice.
//
// Two kinds of connections belong to nobody. The first has an owner whom the kernel
// does not tell apart from others (package userid). The second has no inode, because
// its process has closed it or has not accepted it yet. The memory is bounded, per user
// and in all. Connections beyond the bounds count only as far as the kernel lists them.
package census
