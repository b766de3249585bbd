package placement

import "github.com/socket-intents/mamma/intent"

// Options say how to run a program. The zero value places TCP and UDP connections
// with no intents.
type Options struct {
	// Intents are those of every connection for which Parts say nothing else.
	Intents intent.Set
	// Parts are the intents of some connections. Those of the first part that
	// matches count before Intents, one by one.
	Parts []Part
	// Rules state intents by destination, port, user and program. They count after
	// Parts and before Intents.
	Rules RulesFile
	// Socket is the path of the manager's request socket, "" for where it usually
	// is.
	Socket string
	// MPTCP makes TCP sockets into Multipath TCP ones.
	MPTCP bool
	// Require refuses connections that could not be placed, instead of letting
	// them go as if nobody was there.
	Require bool
	// AllowIOURing lets the program connect by io_uring, which no filter sees.
	AllowIOURing bool
	// NoMessages leaves sendmsg(2) and sendmmsg(2) alone: datagrams that a program
	// sends by them from an unconnected socket are not placed then, and cost
	// nothing.
	NoMessages bool
	// Verbose prints a line for each connection.
	Verbose bool
}
