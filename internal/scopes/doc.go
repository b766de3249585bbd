// Package scopes places the connections of programs that take no part in mamma: by systemd
// unit or slice, control group, user and command, as scope blocks of the configuration say.
//
// What places them is in the kernel (package hook), and follows maps. An [Engine] keeps
// these current:
//
//	Configure       which scopes there are
//	groups.go       which control groups there are, and to which scopes they belong
//	Published       what is decided on has changed: everything is asked about again
//	answers.go      what the policy says of each scope's usual connection, and of those to
//	                destinations that were seen
//	events.go       what the kernel has placed: remembered as decisions, and a reason to
//	                ask about a destination
//
// One goroutine does all that. Nothing of it is on the path of a connection.
//
// # Whose word counts
//
// Whoever can choose the name of a control group could choose to be of a scope. So a name
// counts only if root or this process's own user gave it, or one of the users that the
// scope names: an ordinary user's service manager can call a unit as it likes. A command is
// what a thread calls itself: a scope by command alone is a convenience, no right.
package scopes
