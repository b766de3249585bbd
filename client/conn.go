package client

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Candidate is one of the ways to connect in a dial: FirstChoice, PlainDial, or n for
// the manager's n-th alternate.
type Candidate int

const (
	PlainDial   Candidate = -1 // without any suggestion of the manager
	FirstChoice Candidate = 0  // what the manager prefers
)

// String gives "first choice", "alternate 1" and so on, or "plain dial".
func (c Candidate) String() string {
	switch {
	case c == FirstChoice:
		return "first choice"
	case c > FirstChoice:
		return "alternate " + strconv.Itoa(int(c))
	}
	return "plain dial"
}

// DecisionID identifies a decision of the manager, in the form that "mammactl
// decisions" and the manager's logs show. The zero value means that there is none.
type DecisionID [16]byte

// IsZero tells whether there is no id.
func (id DecisionID) IsZero() bool { return id == DecisionID{} }

// String gives the form of a UUID (RFC 9562), "" for none.
func (id DecisionID) String() string {
	if id.IsZero() {
		return ""
	}
	return uuid.UUID(id).String()
}

// MarshalText gives the text of String.
func (id DecisionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Info tells how a connection was made.
type Info struct {
	// Decided tells that the Multi Access Manager was asked and answered. If
	// not, Err is why.
	Decided bool
	Err     error

	// Candidate says which way of connecting succeeded.
	Candidate Candidate
	Source    netip.Addr // the suggested source address; invalid if there was none
	Device    string     // the interface that the socket was bound to, "" if none
	Multipath bool       // opened with MPTCP
	PlainTCP  bool       // Multipath was set, but the peer or a middlebox does not speak MPTCP
	Reason    string     // why, in the manager's words, or why a Pool reused the connection without asking; may be empty
	ID        DecisionID // zero if the manager gave none

	Reused        bool // a Pool has used it before
	Local, Remote netip.AddrPort
	Attempts      []Attempt     // the attempts that failed before
	Duration      time.Duration // from the call until the connection was made
}

// InfoOf tells how conn was made. It is not ok unless a Dialer or a Pool of this
// package made conn. InfoOf looks through types with a NetConn method, such as
// tls.Conn.
func InfoOf(conn net.Conn) (Info, bool) {
	for conn != nil {
		if c, ok := conn.(interface{ dialInfo() *Info }); ok {
			return *c.dialInfo(), true
		}
		u, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = u.NetConn()
	}
	return Info{}, false
}

// dialed carries the Info of a connection. The types below embed it beside the concrete
// connection, so that the connection keeps all its methods.
type dialed struct{ info Info }

func (d *dialed) dialInfo() *Info { return &d.info }

type tcpConn struct {
	*net.TCPConn
	dialed
}

// NetConn returns the connection itself.
func (c *tcpConn) NetConn() net.Conn { return c.TCPConn }

type udpConn struct {
	*net.UDPConn
	dialed
}

// NetConn returns the connection itself.
func (c *udpConn) NetConn() net.Conn { return c.UDPConn }

type otherConn struct {
	net.Conn
	dialed
}

// NetConn returns the connection itself.
func (c *otherConn) NetConn() net.Conn { return c.Conn }

// withInfo attaches info to conn.
func withInfo(conn net.Conn, info Info) net.Conn {
	info.Local, info.Remote = addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	switch c := conn.(type) {
	case *net.TCPConn:
		return &tcpConn{c, dialed{info}}
	case *net.UDPConn:
		return &udpConn{c, dialed{info}}
	}
	return &otherConn{conn, dialed{info}}
}

// addrPort returns the zero value if a is not an IP address.
func addrPort(a net.Addr) netip.AddrPort {
	p, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	ap := p.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
