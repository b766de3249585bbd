package socks

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config says how to serve. The zero value serves CONNECT and UDP ASSOCIATE to
// everybody, with the host's ordinary networking. A Config must not be changed while a
// Server uses it.
type Config struct {
	// Dial connects to a destination; nil means net.Dialer's DialContext. The context
	// carries the request (see RequestFrom). If the connection has the methods
	// SyscallConn and CloseWrite, as *net.TCPConn has, the Server reads and writes its
	// descriptor. Its methods Read and Write are then not called.
	//
	// A dialer should have CheckDial as its ControlContext, so that Rules can forbid an
	// address before the connection is made. The Server checks the address again
	// afterwards.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Listen opens the listener of a BIND. address is the destination, from which the
	// connection is going to come. nil means to listen at any port of the address from
	// which this host would send to the destination.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)

	// ListenPacket opens the outgoing socket of a UDP association for one family:
	// network is udp4 or udp6. address is the destination of the first datagram, by
	// which ListenPacket can choose a source. nil means an ordinary socket.
	//
	// The Server calls ListenPacket again if sending fails. It also does so if no
	// answer comes, first after a second, then after two seconds, and so on; sooner if
	// answers came before (see SilentSince and WasAnswering). If the new socket has the
	// same source address, the Server keeps the old one.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)

	// Resolve resolves the names in UDP datagrams, and those of BIND and RESOLVE; nil
	// means net.DefaultResolver. network is ip, ip4 or ip6. The Server may call Resolve
	// for several names of an association at the same time, and while ListenPacket
	// runs.
	Resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)

	// ResolvePTR finds the names of an address; nil means net.DefaultResolver.
	ResolvePTR func(ctx context.Context, addr netip.Addr) ([]string, error)

	// Auth checks names and passwords. If Auth is nil, everybody is served, and
	// requests have the name that the client gave, unchecked.
	Auth Authenticator
	// IgnoreNames tells not to ask clients for their names if Auth is nil. Some clients
	// offer a name and a password without having them. If the Server accepts the offer,
	// such a client fails, or asks its user.
	IgnoreNames bool
	// Nameless tells whether a client that offers a name and a password is known to
	// have none. The Server then does not ask for them, if Auth is nil. It calls
	// Nameless before the request is read, for clients that also offer to go without.
	// nil means to ask every client.
	Nameless func(r *Request) bool
	// Rules say who may connect to what; nil allows everything to everybody.
	Rules Rules

	AllowBind  bool // serve BIND
	DisableUDP bool // do not serve UDP ASSOCIATE

	// PrivateHeaders are header fields that are meant for this proxy. They are not
	// passed on with plain HTTP requests.
	PrivateHeaders []string

	// Via is the name of this proxy in the Via field of plain HTTP messages (RFC 9110
	// section 7.6.3). If Via is empty, no field is added.
	Via string

	// MaxConns limits the connections of all clients; 0 means 10000. MaxConnsPerClient
	// limits those from one address, except loopback addresses; 0 means 1000. A
	// negative value means no limit. At the limit MaxConns, the Server closes the
	// connection that has waited longest without a request. If there is none, it closes
	// the new one.
	MaxConns, MaxConnsPerClient int

	// MaxFiles limits the descriptors that connections take; 0 means no limit. A
	// connection takes two, an association takes more, and so does an HTTP client that
	// talks to several servers. At the limit the Server does the same as at MaxConns,
	// and refuses associations.
	MaxFiles int

	// Time-outs. 0 means the default, a negative value means none.
	Handshake  time.Duration // until the request is read: 10 s
	Connect    time.Duration // to connect, or be connected to: 30 s
	Idle       time.Duration // without data: 2 h 4 min (RFC 5382 section 5)
	HalfClosed time.Duration // without data, once one direction is closed: 4 min (ibid.)
	UDPIdle    time.Duration // without a datagram: 5 min (RFC 4787 section 4.3)

	Hooks Hooks

	// Logger gets messages for the operator. The Hooks are told what clients do. It is
	// not logged. nil means to log nothing.
	Logger *slog.Logger

	// These are for tests; 0 means the default.
	watchAfter time.Duration // see departure
	parkAfter  time.Duration // see relay
	udpSilence time.Duration // see association
}

// Authenticator checks the name and password of a client.
type Authenticator interface {
	// Authenticate tells whether password is that of user. It must take the same time
	// for users that exist and for users that do not.
	Authenticate(user, password string) bool
}

// Hooks are called when something happens. Those that are nil are not called. They must
// not block.
type Hooks struct {
	// Rejected is called when a client's connection ended without a request: there were
	// too many clients, or the client sent nothing, an invalid message, or a wrong
	// password.
	Rejected func(client netip.AddrPort, err error)
	// NoName is called for a client that had offered a name, but also to go without.
	// When asked for the name, the client ended the connection or sent something else.
	// The request has what was known by then. Rejected is called as well.
	NoName func(*Request)
	// Established is called when the destination is connected, and always before Ended.
	Established func(*Session)
	// Ended is called when a request is over. The error says why the request was not
	// served, or what broke the connections. It is nil after an orderly end.
	Ended func(*Session, error)
}

// Defaults of Config.
const (
	defaultMaxConns          = 10_000
	defaultMaxConnsPerClient = 1_000
	defaultHandshake         = 10 * time.Second
	defaultConnect           = 30 * time.Second
	defaultIdle              = 2*time.Hour + 4*time.Minute
	defaultHalfClosed        = 4 * time.Minute
	defaultUDPIdle           = 5 * time.Minute
)

// forever is a limit or a duration that is never reached.
const forever = 1<<63 - 1

// withDefaults returns a copy of c in which zero values are replaced by their defaults.
func (c Config) withDefaults() *Config {
	set := func(n *int, standard int) {
		if *n == 0 {
			*n = standard
		} else if *n < 0 {
			*n = forever
		}
	}
	wait := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		} else if *d < 0 {
			*d = forever
		}
	}
	set(&c.MaxConns, defaultMaxConns)
	set(&c.MaxConnsPerClient, defaultMaxConnsPerClient)
	if c.MaxFiles <= 0 {
		c.MaxFiles = forever
	}
	wait(&c.Handshake, defaultHandshake)
	wait(&c.Connect, defaultConnect)
	wait(&c.Idle, defaultIdle)
	wait(&c.HalfClosed, defaultHalfClosed)
	wait(&c.UDPIdle, defaultUDPIdle)
	wait(&c.watchAfter, defaultWatchAfter)
	wait(&c.parkAfter, parkAfter)
	wait(&c.udpSilence, defaultUDPSilence)
	if c.Rules == nil {
		c.Rules = everything{}
	}
	if c.Resolve == nil {
		c.Resolve = net.DefaultResolver.LookupNetIP
	}
	if c.ResolvePTR == nil {
		c.ResolvePTR = func(ctx context.Context, addr netip.Addr) ([]string, error) {
			return net.DefaultResolver.LookupAddr(ctx, addr.String())
		}
	}
	if c.Listen == nil {
		c.Listen = listenTowards
	}
	if c.ListenPacket == nil {
		c.ListenPacket = func(ctx context.Context, network, _ string) (net.PacketConn, error) {
			var lc net.ListenConfig
			return lc.ListenPacket(ctx, network, ":0")
		}
	}
	if c.Hooks.Rejected == nil {
		c.Hooks.Rejected = func(netip.AddrPort, error) {}
	}
	if c.Nameless == nil {
		c.Nameless = func(*Request) bool { return false }
	}
	if c.Hooks.NoName == nil {
		c.Hooks.NoName = func(*Request) {}
	}
	if c.Hooks.Established == nil {
		c.Hooks.Established = func(*Session) {}
	}
	if c.Hooks.Ended == nil {
		c.Hooks.Ended = func(*Session, error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &c
}
