package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Connections says how many live TCP connections of those who ask a prefix carries.
// A connection is live while a process has it open; one that is being opened because
// of a decision counts as well. Accepted connections count as opened ones do. The
// figures are as old as the last look at the kernel's sockets: mostly a tenth of a
// second, a second on a quiet host.
type Connections struct {
	// User counts those of the user who asks (App.UID), whichever program has opened
	// them and whether or not the manager was asked. It is the owner of the socket in
	// the kernel.
	User int
	// Program counts those of the same user and the same App.Command. Which program
	// has a socket the kernel does not tell, so only connections count that followed a
	// decision and that the client reported, or whose socket it named. What a proxy
	// opens is the proxy's.
	Program int
}

// ConnectionsOn returns how many live connections of the user and the program who
// ask there are on p, one of r.Prefixes. known is false if that is not known of the
// user, or p is another prefix.
func (r *Request) ConnectionsOn(p *Prefix) (c Connections, known bool) {
	i := slices.Index(r.Prefixes, p)
	if i < 0 || i >= len(r.Connections) {
		return Connections{}, false
	}
	return r.Connections[i], true
}

// ConnectionObserver is implemented by policies that want to know when a connection
// ends that followed a decision.
type ConnectionObserver interface {
	// ConnectionEnded tells of a connection that its program has closed, or that is gone
	// with its network. It is called in the policy's turn, as Choose is: never two at
	// once. The connection is valid during the call only. Those that the client did not
	// report, and those beyond the manager's limits (16384, of one user 4096), are not
	// told of. Recordings hold no such calls.
	ConnectionEnded(*Connection)
}

// Connection is a TCP connection that has ended.
type Connection struct {
	Token  uint64  // that of the Decision it followed; 0: another policy decided, or there was none
	App    App     // who asked for it
	Prefix *Prefix // it went over; nil if that is gone
	Host   string  // as in the request; "" if unknown
	Remote netip.AddrPort
	// Began is when it was asked for, and Ended when it was found to be closed, which
	// is up to a second after it was.
	Began, Ended time.Time
}
