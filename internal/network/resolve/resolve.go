// Package resolve resolves host names over one local prefix. It asks the prefix's own
// name servers, through sockets bound to the prefix's address and device, and keeps the
// answers in a cache of their own. So no query and no answer of one prefix shows on
// another (doc/original/daemon.md section 11).
//
// A Resolver is a stub resolver (RFC 1034 section 5.3.1): it leaves recursion and
// validation to the servers. The manager decides which resolver a request uses, and
// what to do when it does not know a name. Sorting addresses by RFC 6724 and racing
// them is left to the program that connects.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Defaults of Config, and bounds that cannot be configured.
const (
	defaultResolvConf = "/etc/resolv.conf"
	defaultHosts      = "/etc/hosts"

	// defaultTimeout and defaultAttempts turn a dead server into an error after three
	// seconds, as most of the original's policies do.
	defaultTimeout  = time.Second
	defaultAttempts = 3

	// defaultResolutionDelay is the value that RFC 8305 section 8 recommends.
	defaultResolutionDelay = 50 * time.Millisecond

	defaultCacheSize  = 4096
	defaultMaxQueries = 256

	// maxLookup ends a query in any case. Without it, servers could prolong a query
	// with aliases of aliases, or by answering just before each time-out.
	maxLookup = 30 * time.Second
)

// Config says whom a Resolver asks, and how. The zero value is the host's default
// resolver: it asks the servers of /etc/resolv.conf, and binds nothing.
type Config struct {
	// Servers are asked in this order, before those of ResolvConf. Port 0 means 53.
	Servers []netip.AddrPort

	// ResolvConf is a file with servers, search domains and options as in
	// resolv.conf(5). A server in it may have a port. The file is read again when it
	// changes. If both ResolvConf and Servers are empty, /etc/resolv.conf is used. So a
	// Config with only BindTo asks the default servers from that address.
	ResolvConf string

	// BindTo is the source address of queries; with the zero Addr the kernel chooses. A
	// server of the other family is asked only if Device keeps the query on the right
	// interface. Loopback servers are asked from an unbound socket, because nothing
	// else reaches them, unless BindTo itself is a loopback address.
	BindTo netip.Addr

	// Configured says that somebody configured the servers for this network. They are
	// then also asked about names below "local", which are otherwise left to multicast
	// DNS (see SpecialNames).
	Configured bool

	// Device is the interface by which queries leave (SO_BINDTODEVICE, without
	// privileges since Linux 5.7). Loopback servers are asked without it. "" means any.
	Device string

	// HostsFile is searched before a server is asked, and read again when it changes.
	// "" means /etc/hosts, and os.DevNull no file.
	HostsFile string

	// Timeout is how long one server may take for one try. Zero means the value in
	// ResolvConf or, without one, one second.
	Timeout time.Duration

	// Attempts is how many times the list of servers is gone through. Zero means the
	// value in ResolvConf or, without one, three times. Only silent servers are asked
	// again.
	Attempts int

	// ResolutionDelay is how long a lookup of both families waits for the second answer
	// once the first has brought addresses (RFC 8305 section 3). Zero means 50 ms. A
	// negative value means to wait until the second answer has come or failed.
	ResolutionDelay time.Duration

	// CacheSize bounds the cache, in answers: one per name and family. Zero
	// means 4096; negative means no cache.
	CacheSize int

	// MaxQueries bounds the queries that run at one time; further ones wait. Zero means
	// 256.
	MaxQueries int

	// Now is the clock for the expiry of answers and for looks at files; nil means
	// time.Now. Time-outs of the network always use real time.
	Now func() time.Time

	hostname func() (string, error) // tests replace it; nil: os.Hostname
}

// Resolver resolves names. New makes one. It may be used by any number of goroutines,
// and must be closed.
type Resolver struct {
	cfg   Config
	log   *slog.Logger
	now   func() time.Time
	hosts *file[*hosts]
	conf  *file[*resolvConf] // nil if cfg names servers but no file
	cur   atomic.Pointer[settings]
	turn  atomic.Uint32 // for "options rotate"
	// open is (*net.Dialer).DialContext, which tests replace to dial in a network
	// namespace.
	open func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)

	ctx    context.Context // ends with Close; flights live as long as it, and not as their callers
	cancel context.CancelFunc
	slots  chan struct{} // one element per running query
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	cache   *cache
	flights map[flightKey]*flight
	// failing holds the time of the last silence of a server.
	failing map[netip.AddrPort]time.Time
	edns    map[netip.AddrPort]ednsState
}

// New makes a Resolver. It reads no file and opens no socket. The first Lookup does
// that, and reports what is wrong with them. A nil logger logs nothing.
func New(cfg Config, log *slog.Logger) *Resolver {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.ResolvConf == "" && len(cfg.Servers) == 0 {
		cfg.ResolvConf = defaultResolvConf
	}
	if cfg.HostsFile == "" {
		cfg.HostsFile = defaultHosts
	}
	if cfg.ResolutionDelay == 0 {
		cfg.ResolutionDelay = defaultResolutionDelay
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = defaultCacheSize
	}
	if cfg.MaxQueries <= 0 {
		cfg.MaxQueries = defaultMaxQueries
	}
	cfg.BindTo = cfg.BindTo.Unmap()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Resolver{
		cfg:     cfg,
		log:     log,
		now:     cfg.Now,
		open:    dial,
		hosts:   newFile(cfg.HostsFile, parseHosts, log),
		slots:   make(chan struct{}, cfg.MaxQueries),
		cache:   newCache(cfg.CacheSize),
		flights: make(map[flightKey]*flight),
		failing: make(map[netip.AddrPort]time.Time),
		edns:    make(map[netip.AddrPort]ednsState),
	}
	if cfg.ResolvConf != "" {
		r.conf = newFile(cfg.ResolvConf, parseResolvConf, log)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	return d.DialContext(ctx, network, address)
}

// Close ends all lookups with an error, closes their sockets and waits for them.
// It may be called more than once.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

// Flush forgets all answers, and what was learnt about servers, because another network
// may have other servers at the same addresses. Running lookups are completed, but
// their answers are not remembered.
func (r *Resolver) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.flush()
	clear(r.edns)
}

// Servers returns the present servers in the configured order. The slice must not be
// modified.
func (r *Resolver) Servers() []netip.AddrPort { return r.settings(r.now()).servers }

// Answer is what is known about a name.
type Answer struct {
	// Addrs has at least one address. IPv4 addresses come before IPv6 ones; within a
	// family they keep the order of the source. Addrs is shared and must not be
	// modified.
	Addrs []netip.Addr
	// Name is the canonical name, in lower case and without a final dot: the name that
	// the search list and aliases led to. It is "" for a literal.
	Name string
	// Server gave the answer; invalid if no server was needed.
	Server netip.AddrPort
	// Expires is the time after which the answer should not be used; zero if it does
	// not age.
	Expires time.Time
	// Cached tells that the whole answer came from memory.
	Cached bool
	// Partial tells that the answer for one family was not waited for.
	Partial bool
}

// Lookup returns the addresses of a host. The host is an IP literal, which may have a
// zone, or a name. A name is looked up in the hosts file, then in the cache, then at
// the servers. With policy.Unspecified both families are asked for at once, and
// addresses of one are enough.
//
// An error is always an *Error. A host that exists but has no address of the family
// counts as not found. The lookup ends when ctx ends, unless others wait for the same
// name.
func (r *Resolver) Lookup(ctx context.Context, host string, family policy.Family) (Answer, error) {
	if addr, ok := literal(host); ok {
		return known(host, "", []netip.Addr{addr}, family)
	}
	name, err := checkName(host)
	now := r.now()
	if err == nil || errors.Is(err, errNumber) {
		if addrs := r.hosts.load(now).addrs[name]; addrs != nil {
			return known(host, name, addrs, family)
		}
	}
	if err != nil {
		return Answer{}, &Error{Host: host, NotFound: true, Err: err}
	}
	st := r.settings(now)
	if s := specialDomain(name); s != nil && !r.asks(s, st) {
		if s.Loopback {
			return known(host, name, loopbackAddrs(), family)
		}
		return Answer{}, &Error{Host: host, NotFound: true, Err: fmt.Errorf("%w (%s)", errSpecial, s.Source)}
	}
	var fail *Error
	for i := range st.candidates() {
		candidate := st.candidate(host, name, i)
		if candidate == "" {
			continue
		}
		answer, err := r.lookupName(ctx, st, candidate, family, now)
		if err == nil {
			return answer, nil
		}
		if fail == nil || fail.NotFound && !err.NotFound {
			fail = err
		}
		// After silence the next name is not tried: the servers would be silent again.
		// After a failure it is, because the failure may be about this name.
		if err.Timeout || ctx.Err() != nil || r.ctx.Err() != nil {
			break
		}
	}
	return Answer{}, fail.of(host)
}

// known makes the answer for a host whose addresses need no server.
func known(host, name string, addrs []netip.Addr, family policy.Family) (Answer, error) {
	addrs = ofFamily(addrs, family)
	if len(addrs) == 0 {
		return Answer{}, &Error{Host: host, NotFound: true, Err: errNoData}
	}
	return Answer{Addrs: addrs, Name: name, Cached: true}, nil
}

// ofFamily returns the addresses of the family, IPv4 before IPv6.
func ofFamily(addrs []netip.Addr, family policy.Family) []netip.Addr {
	n := 0
	for n < len(addrs) && addrs[n].Is4() {
		n++
	}
	switch family {
	case policy.IPv4:
		return addrs[:n:n]
	case policy.IPv6:
		return addrs[n:]
	}
	return addrs
}
