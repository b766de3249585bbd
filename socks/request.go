package socks

import (
	"net"
	"net/http"
	"net/netip"
)

// Request is what a client asks for. Nobody may change a Request, except for its Data.
type Request struct {
	Protocol Protocol
	Command  Command
	// Dest is the destination. For a UDP association it is the address from which the
	// client says it will send, or zero. The destinations are then in the datagrams,
	// and Rules.AllowAddr is asked about each of them.
	Dest Addr

	Client   netip.AddrPort // the connection's remote address
	Listener netip.AddrPort // the connection's local address
	Unix     bool           // the connection came by a Unix socket and has no addresses
	Conn     net.Conn       // the connection, to ask the kernel about; nobody may read or write it

	// User is the name that the client gave; "" if it gave none. The user ID of SOCKS 4
	// counts as a name. The name is verified only if Authenticated is true.
	User          string
	Authenticated bool

	// Header is the header of an HTTP request, without Proxy-Authorization. It is nil
	// for SOCKS.
	Header http.Header

	// Data is for Rules, dial functions and Hooks, to pass something on among them.
	// Calls for one request do not run at the same time, with two exceptions: the dial
	// function itself may make concurrent calls, and an association may resolve several
	// names at once.
	Data any
}

// Loopback tells whether the client is on this host, which it is if it came from a
// loopback address or by a Unix socket. Such a client can reach the host's loopback
// addresses without the proxy, too.
func (r *Request) Loopback() bool { return r.Unix || r.Client.Addr().Unmap().IsLoopback() }
