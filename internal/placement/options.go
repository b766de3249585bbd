package placement

import (
	"errors"

	"github.com/socket-intents/mamma/intent"
)

// Options say how to run a program. The zero value places TCP and UDP connections
// with no intents.
type Options struct {
	// Intents are for every connection about which Parts say nothing else.
	Intents intent.Set
	// Parts are the intents of some connections. The first part that matches a
	// connection counts. Each intent in it takes precedence over the same one in
	// Intents.
	Parts []Part
	// Rules state intents by destination, port, user and program. Parts take precedence
	// over them, and they take precedence over Intents.
	Rules RulesFile
	// Socket is the path of the manager's request socket; "" means the usual place.
	Socket string
	// MPTCP makes TCP sockets into Multipath TCP ones.
	MPTCP bool
	// Require refuses what could not be placed, and what would leave by another network
	// than the one that was chosen. Without it, that goes on as without placement.
	Require bool
	// AllowIOURing permits io_uring, whose connections no filter sees.
	AllowIOURing bool
	// NoMessages leaves sendmsg(2) and sendmmsg(2) alone. Datagrams that a program
	// sends by these from an unconnected socket are then not placed, and cost nothing.
	NoMessages bool
	// Verbose prints a line for each connection.
	Verbose bool
}

// Check returns an error if what Require asks for cannot be held with the other options.
func (o *Options) Check() error {
	switch {
	case !o.Require:
		return nil
	case o.AllowIOURing:
		return errors.New("--require and --allow-io-uring exclude each other: nobody sees the connections of io_uring")
	case o.NoMessages:
		return errors.New("--require and --no-messages exclude each other: nobody would look at these datagrams")
	}
	return nil
}
