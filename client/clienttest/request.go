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
	Resolve   Kind = 2 // the addresses of Host, looked up on the network of Source
	ConnectFD Kind = 3 // a decision on an existing socket: bsd.Context.Connect
	Report    Kind = 4 // tells how a decision turned out, and asks nothing
	Other     Kind = 5 // something else
)

// String returns the kind in words, such as "connect descriptor".
func (k Kind) String() string {
	names := [...]string{"connect", "choose", "resolve", "connect descriptor", "report", "other"}
	if k < 0 || int(k) >= len(names) {
		return "kind " + strconv.Itoa(int(k))
	}
	return names[k]
}

// Request is a question or a report of a client.
type Request struct {
	Kind     Kind
	Host     string // as the program gave it: a name or an address
	Port     uint16
	Datagram bool       // UDP
	Intents  intent.Set // what the client states about the connection
	// Selection says which networks the connection may take, as in "require network
	// home, avoid cost metered"; "" if the client does not say.
	Selection string
	Bound     netip.Addr // source address that the program itself has chosen; invalid: none
	Source    netip.Addr // Resolve: address on the network to ask on; invalid: any network
	Remote    netip.AddrPort
	Idle      []Idle  // Choose: the connections on offer
	Outcome   Outcome // Report
	// Leased is the number of connections that followed earlier answers (Answer.Lease).
	// Any later request may carry this count.
	Leased int
}

// Idle is a connection that may be used again.
type Idle struct {
	Source    netip.Addr // address that it is bound to
	Remote    netip.AddrPort
	Multipath bool
}

// Outcome is what became of one attempt.
type Outcome struct {
	Candidate int // 0 the first choice, n the n-th alternate, -1 a plain dial
	Took      time.Duration
	Errno     int // error number of Linux; 0: connected
	LocalPort uint16
	PlainTCP  bool // MPTCP was asked for, and the connection became plain TCP
}

// Answer is what the manager says. The zero value suggests nothing.
type Answer struct {
	// Silent means that no answer is sent.
	Silent bool

	Source     netip.Addr // to bind to; invalid: none
	Device     string     // interface to bind to; "": none. Binding may need a privilege.
	Multipath  bool
	Cost       Cost
	Options    []Option
	Reason     string
	Alternates []Alternate

	// Only permits nothing but Source and the Alternates. Refused permits nothing at
	// all, and Reason says why. NotPermitted says that Request.Selection leaves no
	// network. The manager does not compare the script's suggestions with
	// Request.Selection.
	Only, Refused, NotPermitted bool

	// Addrs answers Resolve requests, in order. If it is empty, the client's own
	// resolver looks the name up. NotResolved says instead that the name has no
	// addresses.
	Addrs       []netip.Addr
	NotResolved bool

	// Lease is the time for which the client may follow the answer again without
	// asking, for connections to the same address with the same intents; 0: the client
	// asks each time. Uses is how many further connections may follow the answer; 0: no
	// limit. See client.Daemon.MaxLeases.
	Lease time.Duration
	Uses  int

	// Reuse answers Choose requests. The number n means to use the n-th of
	// Request.Idle, counted from 1; 0 means to make a new connection.
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

// Cost is what traffic over a network costs. If all Costs of an Answer have the zero
// value, the manager sends no costs.
type Cost struct {
	Level  Level
	Budget int64 // bytes left of the budget; 0: there is none
}

// Level is one of three levels of cost, or unknown.
type Level int

// The levels of a Cost. If one Cost of an Answer is not zero, the manager sends Unknown as
// Free.
const (
	Unknown   Level = 0
	Free      Level = 1
	Metered   Level = 2
	Expensive Level = 3
)

// request converts a message into a Request.
func request(m *wire.Message) Request {
	c := &m.Context
	port, _ := strconv.ParseUint(c.Service, 10, 16) // 0 if it is not a number
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
