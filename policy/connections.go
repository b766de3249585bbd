package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Connections tells how many live TCP connections of the asking user and program a
// prefix carries. A connection is live while a process has it open. A connection that
// is being opened by a decision counts as well, and accepted connections count like
// opened ones. The figures are as old as the last look at the kernel's sockets: mostly
// a tenth of a second, a second on a quiet host.
type Connections struct {
	// User counts the connections of the user who asks (App.UID). It does not matter
	// which program has opened them or whether the manager was asked. The user is the
	// owner of the socket in the kernel.
	User int
	// Program counts the connections of the same user and the same App.Command. The
	// kernel does not tell which program a socket belongs to. So a connection counts
	// only if a decision led to it and the client has reported it, or has named its
	// socket, or if it is of a scope. Connections of a proxy count for the proxy.
	Program int
}

// ConnectionsOn returns the number of live connections on p of the user and of the
// program that ask. known is false if nothing is known of the user, or if p is not one
// of r.Prefixes.
func (r *Request) ConnectionsOn(p *Prefix) (c Connections, known bool) {
	i := slices.Index(r.Prefixes, p)
	if i < 0 || i >= len(r.Connections) {
		return Connections{}, false
	}
	return r.Connections[i], true
}

// ConnectionObserver is implemented by policies that want to know when connections end
// that they have decided on.
type ConnectionObserver interface {
	// ConnectionEnded is called when a program has closed its connection, or when the
	// connection is gone with its network. Like Choose it is called in the policy's
	// turn, never two calls at once. The Connection is valid during the call only. Two
	// kinds of connections are left out: those that the client did not report, and
	// those beyond the manager's limits (16384, of one user 4096). Recordings hold no
	// such calls.
	ConnectionEnded(*Connection)
}

// Connection is a TCP connection that has ended.
type Connection struct {
	Token  uint64  // Token of the Decision that led to it; 0: another policy decided, or nobody
	App    App     // who asked for it
	Prefix *Prefix // the prefix that it used; nil if that is gone
	Host   string  // as in the request; "" if unknown
	Remote netip.AddrPort
	// Began is when the decision was asked for. Ended is when the connection was found
	// to be closed, up to a second after it was closed.
	Began, Ended time.Time
}
