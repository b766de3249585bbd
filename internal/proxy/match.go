package proxy

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/socks"
)

// match is what a rule applies to. Of each kind that is given, one entry must fit. The
// zero value applies to everything.
type match struct {
	clients      []netip.Prefix
	destinations []destination
	ports        []portRange
	users        []string
	uids         []uint32
	processes    []string
}

// destination is a network, or a pattern for names.
type destination struct {
	network netip.Prefix
	pattern string
}

type portRange struct{ low, high uint16 }

// A verdict on whether something matches.
type verdict int

const (
	no      verdict = iota
	maybe           // it depends on the address, which is not known yet
	unknown         // it depends on who asks, which cannot be found out
	yes
)

// subject is what rules are applied to.
type subject struct {
	request *socks.Request
	name    string         // of the destination in lower case; "" if it is not known by name
	addr    netip.AddrPort // of the destination; the address is not valid if it is not known yet
	caller  func() caller  // who connected; asked only if a rule wants to know
}

// caller is who connected to the proxy. The zero value stands for a local process about
// which nothing could be found out.
type caller struct {
	elsewhere  bool // not on this host, so no local user and no local process
	known      bool
	uid        uint32
	pid        int    // 0 if it could not be read
	executable string // path, "" if it could not be read
}

func (c caller) String() string {
	switch {
	case !c.known:
		return ""
	case c.executable != "":
		return fmt.Sprintf("%s[%d]", path.Base(c.executable), c.pid)
	}
	return fmt.Sprintf("uid %d", c.uid)
}

// newSubject makes the subject for a request whose address is not known, or is
// addr. dest is how the client asked for addr.
func newSubject(r *socks.Request, addr netip.AddrPort, dest socks.Addr, who func() caller) subject {
	s := subject{request: r, addr: addr, caller: who}
	switch {
	case !addr.IsValid() && r.Command == socks.CommandUDPAssociate: // its destinations come later
	case !addr.IsValid():
		return towards(r, r.Dest, who)
	default:
		if dest.Host == "" && r.Command != socks.CommandUDPAssociate {
			dest = r.Dest
		}
		if !dest.IP().IsValid() {
			s.name = normalName(dest.Host)
		}
	}
	return s
}

// towards makes the subject for what a request wants with one destination, which
// for an association is not that of the request.
func towards(r *socks.Request, dest socks.Addr, who func() caller) subject {
	ip := dest.IP()
	s := subject{request: r, addr: netip.AddrPortFrom(ip, dest.Port), caller: who}
	if !ip.IsValid() {
		s.name = normalName(dest.Host)
	}
	return s
}

func normalName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

func (m *match) matches(s subject) verdict {
	r := s.request
	if len(m.clients) > 0 && !slices.ContainsFunc(m.clients, func(p netip.Prefix) bool { return p.Contains(r.Client.Addr()) }) ||
		len(m.users) > 0 && !m.user(r) {
		return no
	}
	// An association has no destination of its own, so neither port nor address.
	undecided := r.Command == socks.CommandUDPAssociate && !s.addr.IsValid() && s.name == ""
	if len(m.ports) > 0 && !undecided && !slices.ContainsFunc(m.ports, func(p portRange) bool { return p.low <= s.addr.Port() && s.addr.Port() <= p.high }) {
		return no
	}
	d := yes
	if undecided && len(m.ports)+len(m.destinations) > 0 {
		d = maybe
	} else if len(m.destinations) > 0 {
		d = m.destination(s)
	}
	if d == no || len(m.uids)+len(m.processes) == 0 {
		return d
	}
	return min(d, m.caller(s.caller()))
}

// caller compares user and process.
func (m *match) caller(who caller) verdict {
	result := yes
	if len(m.uids) > 0 {
		switch {
		case who.elsewhere, who.known && !slices.Contains(m.uids, who.uid):
			return no
		case !who.known:
			result = unknown
		}
	}
	if len(m.processes) > 0 {
		switch {
		case who.elsewhere, who.executable != "" && !m.process(who.executable):
			return no
		case who.executable == "":
			result = unknown
		}
	}
	return result
}

// user compares user names. Without a password file nobody has checked the name that
// the client gives.
func (m *match) user(r *socks.Request) bool {
	name, _ := splitUser(r.User)
	return slices.Contains(m.users, name)
}

func (m *match) destination(s subject) verdict {
	result := no
	for _, d := range m.destinations {
		switch {
		case d.pattern != "":
			if ok, _ := path.Match(d.pattern, s.name); ok && s.name != "" { // the pattern was checked
				return yes
			}
		case d.network.Contains(s.addr.Addr()):
			return yes
		case !s.addr.Addr().IsValid():
			result = maybe
		}
	}
	return result
}

// namesAddress tells whether a network of m holds ip, as distinct from m
// applying to every destination.
func (m *match) namesAddress(ip netip.Addr) bool {
	return slices.ContainsFunc(m.destinations, func(d destination) bool { return d.network.Bits() > 0 && d.network.Contains(ip) })
}

// process compares the path of the executable, or the last part of it.
func (m *match) process(executable string) bool {
	return slices.ContainsFunc(m.processes, func(p string) bool {
		if strings.Contains(p, "/") {
			return p == executable
		}
		return p == path.Base(executable)
	})
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("must be an address or a network such as \"192.0.2.0/24\", not %q", text)
	}
	return p.Masked(), nil
}

func parseDestination(text string) (destination, error) {
	if p, err := parseNetwork(text); err == nil {
		return destination{network: p}, nil
	}
	text = normalName(text)
	if _, err := path.Match(text, ""); err != nil || text == "" || strings.ContainsAny(text, "/:%") {
		return destination{}, fmt.Errorf("must be a name or pattern such as \"*.example.org\", or a network such as \"192.0.2.0/24\", not %q", text)
	}
	return destination{pattern: text}, nil
}

func parsePorts(text string) (portRange, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	l, err1 := strconv.ParseUint(low, 10, 16)
	h, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || l > h {
		return portRange{}, fmt.Errorf("must be a port such as \"443\" or a range such as \"8000-8999\", not %q", text)
	}
	return portRange{uint16(l), uint16(h)}, nil
}

func parseProcess(text string) (string, error) {
	if text == "" || strings.Contains(text, "/") && !path.IsAbs(text) {
		return "", fmt.Errorf("must be the name of a program such as \"restic\" or its whole path, not %q", text)
	}
	return text, nil
}
