// Package census counts the live TCP connections of users and programs on each network.
//
// It joins two sources. The kernel lists all connections with their owners, but a
// moment late, and without the program (inet_diag; package pathstat reads it). Clients
// report which decision led to which connection, so that the program is known. But they
// do not report the end of a connection, and some report nothing. Of connections in
// scopes, the kernel itself tells the socket.
//
// The walk of one connection:
//
//	Decided     a decision names a network: the connection counts there as expected
//	Reported    the client says over which candidate it came about, and its local port
//	Connection  the kernel lists a connection of that user with that port, or of the
//	            inode that the client named: it is the one, and known by its inode
//	Ended       the kernel tells its last figures
//	End         a pass of the kernel's list without it: it has ended
//
// An expected connection is added to the listed ones of its user until it is listed
// itself. A listed connection may be new, untracked and not reported yet. It is then
// taken for an expected one, so that it does not count twice.
//
// What a connection brings is followed as well, for policies that learn from it, unless the
// client reports that (transfer.go). It is what comes until the first pause, or until the
// connection ends. The kernel sees bytes only, and not why none come. So nothing is learnt
// from a connection whose program or server lets the network wait: if nothing comes at
// first, if nothing came in many of the moments at which the kernel was asked, and if it is
// a stream. If the server sends evenly, but slower than the network would carry, nobody can
// tell. Nothing is learnt from a connection of less than two passes: the kernel does not
// tell when it has ended.
//
// Two kinds of connections belong to nobody. The first has an owner whom the kernel
// does not tell apart from others (package userid). The second has no inode, because
// its process has closed it or has not accepted it yet. The memory is bounded, per user
// and in all. Connections beyond the bounds count only as far as the kernel lists them.
package census
