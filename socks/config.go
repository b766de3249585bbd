package socks

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config says how to serve. The zero value serves CONNECT and UDP ASSOCIATE to
// everybody, with the host's ordinary networking. A Config must not be changed
// while a Server has it.
type Config struct {
	// Dial connects to a destination; nil means net.Dialer's DialContext. The
	// context carries the request, see RequestFrom. A connection with the
	// methods SyscallConn and CloseWrite, as *net.TCPConn has, is read and
	// written by its descriptor. Whatever else its Read and Write do is left out.
	//
	// A dialer should have CheckDial as its ControlContext, so that Rules
	// can forbid addresses before a connection is made; the Server looks at the
	// address again afterwards.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Listen opens the listener of a BIND. address is the destination, where the
	// connection is going to come from. nil means any port of the address that
	// this host would send from.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)

	// ListenPacket opens the outgoing side of a UDP association for one family:
	// network is udp4 or udp6. address is the destination of the first datagram,
	// by which ListenPacket can choose a source. The Server calls it again if
	// sending fails, or if nothing comes back for a second, two seconds, and so on; sooner
	// where answers came before, see WasAnswering.
	// A socket of the same source address is then not used. See SilentSince.
	// nil means an ordinary socket.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)

	// Resolve resolves names in UDP datagrams, of BIND and of RESOLVE; nil means net.DefaultResolver.
	// network is ip, ip4 or ip6. The Server calls Resolve for several names of an
	// association at the same time, and at the same time as ListenPacket.
	Resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)

	// ResolvePTR finds the names of an address; nil means net.DefaultResolver.
	ResolvePTR func(ctx context.Context, addr netip.Addr) ([]string, error)

	// Auth checks names and passwords. nil: everybody is served, and the name that a
	// client gives is in its requests, unchecked.
	Auth Authenticator
	// IgnoreNames tells not to ask clients for their names where Auth is nil. Some
	// clients offer a name and a password without having them, and fail or ask their
	// user when the Server accepts the offer.
	IgnoreNames bool
	// Nameless tells of a client that it offers a name and a password but has none, so
	// that it is not asked where Auth is nil. It is called before the request is read,
	// for clients that offer to go without as well; nil: every client is asked.
	Nameless func(r *Request) bool
	// Rules say who may connect where; nil: everybody everywhere.
	Rules Rules

	AllowBind  bool // serve BIND
	DisableUDP bool // do not serve UDP ASSOCIATE

	// PrivateHeaders are hints for this proxy. They are not passed on with plain
	// HTTP requests.
	PrivateHeaders []string

	// Via is the name of this proxy in the Via field of plain HTTP messages (RFC 9110
	// section 7.6.3); "": no field is added.
	Via string

	// MaxConns limits the clients' connections, MaxConnsPerClient those from one
	// address, loopback addresses excepted; 0 means 10000 and 1000, a negative
	// value no limit. At the limit, the connection that has taken longest over
	// its first request makes room; if there is none, the new one is closed.
	MaxConns, MaxConnsPerClient int

	// MaxFiles limits the descriptors that connections take: two each, more of
	// associations and of HTTP clients that talk to several servers; 0 means no limit.
	// At the limit it is as with MaxConns, and an association is refused.
	MaxFiles int

	// Time-outs; 0 means the default, a negative value none.
	Handshake  time.Duration // until the request is read: 10 s
	Connect    time.Duration // to connect, or be connected to: 30 s
	Idle       time.Duration // without data: 2 h 4 min (RFC 5382 section 5)
	HalfClosed time.Duration // the same once one direction is closed: 4 min (ibid.)
	UDPIdle    time.Duration // without a datagram: 5 min (RFC 4787 section 4.3)

	Hooks Hooks

	// Logger gets what an operator should know. What clients do is reported to Hooks,
	// not logged. nil: nothing is logged.
	Logger *slog.Logger

	// These are for tests; 0 means the default.
	watchAfter time.Duration // see departure
	parkAfter  time.Duration // see relay
	udpSilence time.Duration // see association
}

// Authenticator checks the name and password of a client.
type Authenticator interface {
	// Authenticate must take the same time for names that exist and those that
	// do not.
	Authenticate(user, password string) bool
}

// Hooks are called as things happen, if not nil, and must not block.
type Hooks struct {
	// Rejected tells of a client whose connection ended without a request: there were
	// too many clients, or it sent nothing, no valid message, or a wrong password.
	Rejected func(client netip.AddrPort, err error)
	// NoName tells of a client that had offered a name, besides going without, and ended
	// the connection or sent something else when it was asked for the name. Its
	// request is as far as it was known then. Rejected is called as well.
	NoName func(*Request)
	// Established tells that the destination was connected. It counts as
	// before Ended.
	Established func(*Session)
	// Ended tells that a request is over. The error says why the request was not
	// served, or what broke the connections; nil after an orderly end.
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

// forever stands for no limit.
const forever = 1<<63 - 1

// withDefaults fills in what is zero.
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
