package proxy

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/socket-intents/mamma/socks"
)

// access are the rules on who may connect where: the first that matches counts.
//
// Where none matches, clients on this host and those with a password may, others
// may not. And a client elsewhere does not get at what only this host can reach,
// its loopback and link-local addresses, unless a rule names that address: else a
// rule that lets a network in would open every local service to it.
type access struct {
	rules []rule
	who   func(*socks.Request) caller
}

var _ socks.Rules = (*access)(nil)

// Allow decides as far as is possible without knowing the address.
func (a *access) Allow(_ context.Context, r *socks.Request) error {
	detailsOf(r) // before the request is under way, when the metrics look at it
	s := newSubject(r, netip.AddrPort{}, func() caller { return a.who(r) })
	for i := range a.rules {
		switch a.rules[i].match.matches(s) {
		case yes:
			return a.rules[i].verdict(r, s.addr.Addr())
		case maybe:
			return nil // AllowAddr will tell
		}
	}
	return byDefault(r, s.addr.Addr())
}

// AllowAddr decides.
func (a *access) AllowAddr(_ context.Context, r *socks.Request, addr netip.AddrPort) error {
	s := newSubject(r, addr, func() caller { return a.who(r) })
	for i := range a.rules {
		if a.rules[i].match.matches(s) == yes {
			return a.rules[i].verdict(r, addr.Addr())
		}
	}
	return byDefault(r, addr.Addr())
}

// verdict is what a rule that matches says.
func (r *rule) verdict(q *socks.Request, ip netip.Addr) error {
	switch {
	case !r.allow:
		return fmt.Errorf("%w: rule %q", socks.ErrNotAllowed, r.name)
	case !q.Loopback() && ownHostOnly(ip) && !r.match.namesAddress(ip):
		return fmt.Errorf("%w: %v is this host's own, and rule %q does not name it", socks.ErrNotAllowed, ip, r.name)
	}
	return nil
}

func byDefault(q *socks.Request, ip netip.Addr) error {
	switch {
	case q.Loopback():
		return nil
	case !q.Authenticated:
		return fmt.Errorf("%w: no rule lets %v in", socks.ErrNotAllowed, q.Client.Addr())
	case ownHostOnly(ip):
		return fmt.Errorf("%w: %v is this host's own", socks.ErrNotAllowed, ip)
	}
	return nil
}

// ownHostOnly tells whether an address means the host that connects to it, or
// its link.
func ownHostOnly(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}
