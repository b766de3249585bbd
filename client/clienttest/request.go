package clienttest

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// Kind is what a request asks for.
type Kind int

const (
	Connect   Kind = 0 // a decision on a new connection: client.Dialer, and Pool.GetNew
	Choose    Kind = 1 // a decision on a new connection or an idle one: client.Pool, httpintent
	Resolve   Kind = 2 // the addresses of Host, on the network of Source
	ConnectFD Kind = 3 // a decision on a socket that there is already: bsd.Context.Connect
	Report    Kind = 4 // nothing: it tells how a decision turned out
	Other     Kind = 5 // something else
)

// String gives the name of the constant in lower case.
func (k Kind) String() string {
	names := [...]string{"connect", "choose", "resolve", "connect descriptor", "report", "other"}
	if k < 0 || int(k) >= len(names) {
		return "kind " + strconv.Itoa(int(k))
	}
	return names[k]
}

// Request is what a client asks or tells.
type Request struct {
	Kind     Kind
	Host     string // as the program gave it: a name or an address
	Port     uint16
	Datagram bool       // UDP
	Intents  intent.Set // what is known about the connection
	// Selection is which networks the connection may take, as in "require network
	// home, avoid cost metered"; "" if the client does not say.
	Selection string
	Bound     netip.Addr // that the program binds to itself; invalid: none
	Source    netip.Addr // Resolve: of the network to ask on; invalid: any
	Remote    netip.AddrPort
	Idle      []Idle  // Choose: the connections on offer
	Outcome   Outcome // Report
	// Leased is how many connections have followed earlier answers (Answer.Lease), as
	// far as they are told of with this request, which may be any.
	Leased int
}

// Idle is a connection that may be used again.
type Idle struct {
	Source    netip.Addr // that it is bound to
	Remote    netip.AddrPort
	Multipath bool
}

// Outcome is what became of one attempt.
type Outcome struct {
	Candidate int // 0 the first choice, n the n-th alternate, -1 a plain dial
	Took      time.Duration
	Errno     int // of Linux; 0: connected
	LocalPort uint16
	PlainTCP  bool // MPTCP was asked for in vain
}

// Answer is what the manager says. The zero value suggests nothing.
type Answer struct {
	// Silent is to send no answer at all.
	Silent bool

	Source     netip.Addr // to bind to; invalid: none
	Device     string     // interface to bind to, "": none. It may need a privilege.
	Multipath  bool
	Cost       Cost
	Options    []Option
	Reason     string
	Alternates []Alternate

	// Only permits nothing but Source and the Alternates; Refused, nothing at all, and
	// Reason says why. NotPermitted says that Request.Selection leaves no network.
	// What the manager suggests is taken to be what Request.Selection permits.
	Only, Refused, NotPermitted bool

	// Addrs answer Resolve requests, in order. None leaves resolving to the
	// client's own resolver; NotResolved says that there are none.
	Addrs       []netip.Addr
	NotResolved bool

	// Lease is for how long the client may follow the answer again without asking, for
	// connections to the same address with the same intents; 0: it is to ask. Uses is
	// how often; 0: any number of times. See client.Daemon.MaxLeases.
	Lease time.Duration
	Uses  int

	// Reuse answers Choose requests: n is to use the n-th of Request.Idle, counted
	// from 1; 0 is to make a new connection.
	Reuse int
}

// Option is a socket option to set, as setsockopt(2) takes it.
type Option struct {
	Level, Name int
	Value       []byte
	Optional    bool // failing to set it does no harm
}

// Alternate is a network to try when the first choice is slow or fails.
type Alternate struct {
	Source    netip.Addr
	Device    string // interface to bind to, "": none
	Multipath bool
	Cost      Cost
}

// Cost is what traffic over a network costs. The zero value is that of a manager
// that does not tell; it counts only if all of an Answer have it.
type Cost struct {
	Level  Level
	Budget int64 // bytes left of the budget; 0: there is none
}

// Level is how much that is.
type Level int

// The levels of a Cost. Unknown becomes free where another one is known.
const (
	Unknown   Level = 0
	Free      Level = 1
	Metered   Level = 2
	Expensive Level = 3
)

// request reads a message.
func request(m *wire.Message) Request {
	c := &m.Context
	port, _ := strconv.ParseUint(c.Service, 10, 16) // 0 for what is no number
	r := Request{
		Kind: Other, Host: c.Hostname, Port: uint16(port), Datagram: c.Type == wire.SockDgram, Intents: m.Intents(),
		Selection: wire.SelectionText(m.Selection), Bound: c.BindRequested.AddrPort.Addr(), Source: c.BindSuggested.AddrPort.Addr(), Remote: c.Remote.AddrPort,
	}
	switch m.Action {
	case wire.ActionSocketConnectRequest:
		r.Kind = Connect
	case wire.ActionSocketChooseRequest:
		r.Kind = Choose
	case wire.ActionResolveRequest:
		r.Kind = Resolve
	case wire.ActionConnectRequest:
		r.Kind = ConnectFD
	case wire.ActionReportRequest:
		r.Kind = Report
	}
	for i := range m.Sockets {
		s := &m.Sockets[i].Context
		r.Idle = append(r.Idle, Idle{s.BindSuggested.AddrPort.Addr(), s.Remote.AddrPort, s.Protocol == wire.ProtoMPTCP})
	}
	for i := range m.Leased {
		r.Leased += int(m.Leased[i].Uses)
	}
	if o := m.Outcome; o != nil {
		r.Outcome = Outcome{
			Candidate: int(o.Candidate), Took: time.Duration(o.Milliseconds) * time.Millisecond, Errno: int(o.Errno),
			LocalPort: o.LocalPort, PlainTCP: o.Flags&wire.OutcomePlainTCP != 0,
		}
	}
	return r
}
