package resolve

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// Bounds of what is used of a resolv.conf. The C library uses three servers and, in
// older versions, six search domains.
const (
	maxServers = 8
	maxSearch  = 16
	maxNdots   = 15
	maxTries   = 5
	maxSeconds = 30
)

// dnsPort is the port of servers without an explicit one.
const dnsPort = 53

// resolvConf is the content of a resolv.conf(5) file. Fields that are zero were not
// set.
type resolvConf struct {
	servers   []netip.AddrPort
	search    []string // checked names
	searchSet bool     // search was set, perhaps to an empty list
	ndots     int
	timeout   time.Duration
	attempts  int
	rotate    bool
	tcp       bool // use-vc
	noAAAA    bool
	single    bool // single-request
	noTLD     bool // no-tld-query
	noReload  bool
}

// parseResolvConf reads the lines that it understands and skips the rest.
func parseResolvConf(data []byte) *resolvConf {
	c := &resolvConf{ndots: 1}
	for line := range strings.Lines(string(data)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if s, ok := parseServer(fields[1]); ok && len(c.servers) < maxServers && !slices.Contains(c.servers, s) {
				c.servers = append(c.servers, s)
			}
		case "domain", "search": // the last one counts
			c.search, c.searchSet = nil, true
			for _, field := range fields[1:] {
				if name, err := checkName(field); err == nil && len(c.search) < maxSearch {
					c.search = append(c.search, strings.Clone(name))
				}
			}
		case "options":
			for _, option := range fields[1:] {
				name, value, _ := strings.Cut(option, ":")
				c.option(name, value)
			}
		}
	}
	return c
}

// parseServer reads an address with or without port: "192.0.2.1", "fe80::1%eth0",
// "192.0.2.1:5353", "[2001:db8::1]:53".
func parseServer(s string) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return withPort(addr, 0), true
	}
	server, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return withPort(server.Addr(), server.Port()), true
}

// withPort makes a server of an address and a port. Port 0 means the usual one.
func withPort(addr netip.Addr, port uint16) netip.AddrPort {
	if port == 0 {
		port = dnsPort
	}
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// settings are the combination of Config and file. They are immutable.
type settings struct {
	from     *resolvConf // nil if there is no file
	servers  []netip.AddrPort
	search   []string
	ndots    int
	timeout  time.Duration
	attempts int
	rotate   bool
	tcp      bool
	noAAAA   bool
	single   bool
	noTLD    bool
}

// settings returns the present settings. When the file has changed, it flushes the
// answers, because they may come from another network.
func (r *Resolver) settings(now time.Time) *settings {
	var from *resolvConf
	old := r.cur.Load()
	if old != nil && old.from != nil && old.from.noReload {
		return old
	}
	if r.conf != nil {
		from = r.conf.load(now)
	}
	if old != nil && old.from == from {
		return old
	}
	st := r.cfg.settings(from)
	if r.cur.CompareAndSwap(old, st) && old != nil {
		r.log.Info("resolver configuration has changed", "path", r.cfg.ResolvConf, "servers", st.servers)
		r.Flush()
	}
	return st
}

func (c *Config) settings(from *resolvConf) *settings {
	st := &settings{
		from:     from,
		ndots:    1,
		timeout:  c.Timeout,
		attempts: c.Attempts,
	}
	for _, s := range c.Servers {
		st.servers = append(st.servers, withPort(s.Addr(), s.Port()))
	}
	if from != nil {
		st.servers = append(st.servers, from.servers...)
		st.search, st.ndots = from.search, from.ndots
		st.rotate, st.tcp, st.noAAAA, st.single, st.noTLD = from.rotate, from.tcp, from.noAAAA, from.single, from.noTLD
		if !from.searchSet {
			st.search = c.hostDomain()
		}
		if st.timeout <= 0 {
			st.timeout = from.timeout
		}
		if st.attempts <= 0 {
			st.attempts = from.attempts
		}
	}
	if st.timeout <= 0 {
		st.timeout = defaultTimeout
	}
	if st.attempts <= 0 {
		st.attempts = defaultAttempts
	}
	// Without any server, the local host is asked (resolv.conf(5)). This never replaces
	// a prefix's own server.
	if len(st.servers) == 0 && !c.BindTo.IsValid() && c.Device == "" && c.ResolvConf == defaultResolvConf {
		st.servers = []netip.AddrPort{netip.AddrPortFrom(loopbackAddrs()[0], dnsPort)}
	}
	return st
}

// hostDomain returns the search list for a file that names none: the domain of the
// host's own name (resolv.conf(5)). It returns none for a domain that name servers are
// not asked about.
func (c *Config) hostDomain() []string {
	hostname := os.Hostname
	if c.hostname != nil {
		hostname = c.hostname
	}
	full, err := hostname()
	if err != nil {
		return nil
	}
	_, domain, _ := strings.Cut(full, ".")
	domain, err = checkName(domain)
	if err != nil || specialDomain(domain) != nil {
		return nil
	}
	return []string{domain}
}
