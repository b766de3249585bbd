// Package scopes places the connections of programs that know nothing of mamma. The scope
// blocks of the configuration select them by systemd unit or slice, control group, user and
// command.
//
// Programs in the kernel (package hook) place the connections. They look the answers up in
// maps. An [Engine] keeps these maps current:
//
//	Configure       tells which scopes there are
//	rules.go        makes of a scope's rules what the kernel can look up
//	groups.go       finds the control groups, and the scopes to which they belong
//	Published       tells that the basis of decisions has changed, so that everything is
//	                asked about again
//	down.go         tells the kernel at once which networks are down in that basis
//	answers.go      asks the policy about each scope's usual connection, and about
//	                destinations that were seen
//	budget.go       bounds the time that goes into asking again
//	events.go       remembers what the kernel has placed as decisions, and then asks about
//	                the destination
//	measured.go     hands on what the kernel measures of connections, of scopes or not
//	learning.go     learns how much connections carry, and asks again if other intents
//	                follow from that
//
// One goroutine does all of this. No connection waits for it.
//
// # Whose word counts
//
// Whoever can choose the name of a control group could choose to belong to a scope. So a
// name counts only if root, this process's own user or a user whom the scope names has given
// it. For instance, an ordinary user's service manager can give a unit any name. A command is
// the name that a thread gives itself, so a scope by command alone is for convenience and
// protects nothing.
package scopes
