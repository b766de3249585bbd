// Package census counts the live TCP connections of users and programs on each network.
//
// Two sources are joined. The kernel lists all connections with their owners, but not
// which program has them, and a moment late (inet_diag; package pathstat reads it).
// Clients report what they connected because of which decision, so that the program is
// known, but not when they close it, and some report nothing.
//
// The walk of one connection:
//
//	Decided     a decision names a network: the connection counts there as expected
//	Reported    the client says over which candidate it came about, and its local port
//	Connection  the kernel lists a connection of that user with that port, or of the
//	            inode that the client named: it is the one, and known by its inode
//	End         a pass of the kernel's list without it: it has ended
//
// An expected connection is added to what the kernel lists of its user until it is seen
// there. What the kernel lists of a user beyond what was listed the time before, and
// nobody has reported yet, is taken for expected ones, lest they count twice.
//
// Users whom the kernel does not tell apart are nobody (package userid), and so is who
// owns a connection without an inode, which its process has closed or not accepted
// yet. What is remembered is bounded, of one user and in all; what goes beyond counts
// only as far as the kernel lists it.
package census
