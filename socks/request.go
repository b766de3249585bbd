package socks

import (
	"net"
	"net/http"
	"net/netip"
)

// Request is what a client asks for. Nobody may change it, but for Data.
type Request struct {
	Protocol Protocol
	Command  Command
	// Dest is the destination. For UDP associations it is where the client said
	// it would send from, or zeros; Rules.AllowAddr is asked about each
	// destination then.
	Dest Addr

	Client   netip.AddrPort // of the connection
	Listener netip.AddrPort // the local address of the connection
	Unix     bool           // the connection is one of a Unix socket; it has no addresses
	Conn     net.Conn       // the connection, to ask the kernel about; not to be used

	// User is the name that the client gave, unverified unless Authenticated;
	// empty if it gave none. The user ID of SOCKS 4 counts as one.
	User          string
	Authenticated bool

	// Header is that of an HTTP request, without Proxy-Authorization; nil for SOCKS.
	Header http.Header

	// Data is for what Rules and dial functions want to tell each other and
	// the Hooks. Calls for one request never run at the same time, unless the
	// dial function makes them, or an association resolves names.
	Data any
}

// Loopback tells whether the client is on this host, so that it can reach the
// host's loopback addresses anyway: it came by one of them, or by a Unix socket.
func (r *Request) Loopback() bool { return r.Unix || r.Client.Addr().Unmap().IsLoopback() }
