// Package resolve resolves host names over one local prefix: it asks the
// prefix's own name servers through sockets bound to the prefix's address and
// device, and keeps what it learns in a cache of its own, so that no query and
// no answer of one prefix shows on another (doc/original/daemon.md section 11).
//
// A Resolver is a stub resolver (RFC 1034 section 5.3.1): it leaves recursion
// and validation to the servers. Which resolver a request uses, and what to do
// when a name is unknown to it, is left to the manager. Sorting addresses by
// RFC 6724 and racing them is left to who connects.
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

// Defaults of Config, and bounds that are not configurable.
const (
	defaultResolvConf = "/etc/resolv.conf"
	defaultHosts      = "/etc/hosts"

	// defaultTimeout and defaultAttempts make a dead server an error after
	// three seconds, as most of the original's policies have it.
	defaultTimeout  = time.Second
	defaultAttempts = 3

	// defaultResolutionDelay is the value that RFC 8305 section 8 recommends.
	defaultResolutionDelay = 50 * time.Millisecond

	defaultCacheSize  = 4096
	defaultMaxQueries = 256

	// maxLookup ends a query however its servers string it along, with aliases
	// of aliases or just below each time-out.
	maxLookup = 30 * time.Second
)

// Config says whom a Resolver asks and how. The zero value is the host's
// default resolver: the servers of /etc/resolv.conf, nothing bound.
type Config struct {
	// Servers are asked in this order, before those of ResolvConf. Port 0
	// stands for 53.
	Servers []netip.AddrPort

	// ResolvConf is a file with servers, search domains and options as in
	// resolv.conf(5); a server may carry a port. It is read again when it
	// changes. If it is empty and Servers is too, /etc/resolv.conf is used, so
	// that a Config with nothing but BindTo asks the default servers from that
	// address.
	ResolvConf string

	// BindTo is the source address of queries; the zero Addr leaves it to the
	// kernel. A server of the other family is asked only if Device holds the
	// query in its place. Loopback servers are asked unbound, because nothing
	// else reaches them, unless BindTo is a loopback address itself.
	BindTo netip.Addr

	// Configured says that somebody named the servers for the network's own names,
	// below "local" too, which are else left to multicast DNS (see SpecialNames).
	Configured bool

	// Device is the interface that queries leave by (SO_BINDTODEVICE, without
	// privileges since Linux 5.7), loopback servers excepted. "" is any.
	Device string

	// HostsFile is looked into before a server is asked, and read again when it
	// changes. "" is /etc/hosts; os.DevNull is none.
	HostsFile string

	// Timeout is how long one server may take over one try. Zero means what
	// ResolvConf says, else one second.
	Timeout time.Duration

	// Attempts is how often the list of servers is gone through. Zero means
	// what ResolvConf says, else three times. Only servers that did not answer
	// are asked again.
	Attempts int

	// ResolutionDelay is how long a lookup of both families waits for the
	// second answer once the first has brought addresses (RFC 8305 section 3).
	// Zero means 50 ms; negative means until it is there or has failed.
	ResolutionDelay time.Duration

	// CacheSize bounds the cache, in answers: one per name and family. Zero
	// means 4096; negative means no cache.
	CacheSize int

	// MaxQueries bounds the queries under way at one time; further ones wait.
	// Zero means 256.
	MaxQueries int

	// Now is the clock by which answers expire and files are looked at again;
	// nil is time.Now. Time-outs of the network are always real ones.
	Now func() time.Time

	hostname func() (string, error) // nil is os.Hostname
}

// Resolver resolves names. It is made by New, may be used by any number of
// goroutines and must be closed.
type Resolver struct {
	cfg   Config
	log   *slog.Logger
	now   func() time.Time
	hosts *file[*hosts]
	conf  *file[*resolvConf] // nil if cfg names servers and no file
	cur   atomic.Pointer[settings]
	turn  atomic.Uint32 // for "options rotate"
	// open is (*net.Dialer).DialContext; tests dial in a network namespace.
	open func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)

	ctx    context.Context // ends with Close; the life of flights, not of callers
	cancel context.CancelFunc
	slots  chan struct{} // one element per query under way
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	cache   *cache
	flights map[flightKey]*flight
	// failing holds when a server last did not answer.
	failing map[netip.AddrPort]time.Time
	edns    map[netip.AddrPort]ednsState
}

// New makes a Resolver. It reads no file and opens no socket: that is left to
// the first Lookup, which also reports what is wrong with them. A nil logger
// discards.
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

// Flush forgets all answers and what was learnt about servers: another network
// may have others at the same addresses. Lookups that are under way are
// completed, but not remembered.
func (r *Resolver) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.flush()
	clear(r.edns)
}

// Servers returns the servers that are asked at present, in the configured
// order. The slice must not be modified.
func (r *Resolver) Servers() []netip.AddrPort { return r.settings(r.now()).servers }

// Answer is what is known about a name.
type Answer struct {
	// Addrs is never empty: IPv4 addresses stand before IPv6 ones, within a
	// family in the order of the source. It is shared and must not be modified.
	Addrs []netip.Addr
	// Name is the canonical name, lower case and without a final dot: the one
	// that the search list and aliases led to. For a literal it is "".
	Name string
	// Server gave the answer; invalid if no server was needed.
	Server netip.AddrPort
	// Expires is when the answer should no longer be used; zero if it does not
	// age.
	Expires time.Time
	// Cached tells that the whole answer was known before.
	Cached bool
	// Partial tells that the addresses of one family were not waited for.
	Partial bool
}

// Lookup gives the addresses of a host: an IP literal, which may have a zone, or
// a name, which is looked up in the hosts file, the cache and at the servers.
// With policy.Unspecified both families are asked for at the same time, and one
// that has addresses is enough.
//
// An error is always an *Error. A host that exists but has no address of the
// family is not found. When ctx ends the lookup does, unless others wait for
// the same name.
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
		// Servers that did not answer would not answer the next question
		// either; one that failed over this name might.
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

// ofFamily returns the part of addrs, IPv4 before IPv6, that is of the family.
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
