package proxy

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// access are the rules on who may connect where: the first that matches counts.
// A rule that depends on who asks, where that cannot be found out, does not let
// in if it allows, and keeps out if it denies.
//
// Where none matches, clients on this host and those with a password may, others
// may not. And a client elsewhere does not get at this host itself, by any of its
// addresses, nor at its links, unless a rule names that address: else a rule that
// lets a network in would open every local service to it, from inside the host's
// firewall. Nobody sends to broadcast and multicast addresses unless a rule names
// them.
type access struct {
	rules []rule
	who   func(*socks.Request) rules.Caller
	// kind tells what the kernel takes an address for.
	kind func(netip.Addr) addrKind
	// sender finds the user whose datagrams come from a local address.
	sender func(from, to netip.AddrPort) (uid uint32, err error)
	// unknown is told of rules that could not be decided; may be nil.
	unknown func(r *socks.Request, rule string)
}

var (
	_ socks.Rules       = (*access)(nil)
	_ socks.SenderRules = (*access)(nil)
)

// Allow decides as far as is possible without knowing the address.
func (a *access) Allow(_ context.Context, r *socks.Request) error {
	detailsOf(r) // before the request is under way, when the metrics look at it
	s := newSubject(r, netip.AddrPort{}, socks.Addr{}, func() rules.Caller { return a.who(r) })
	return a.decide(r, s, true)
}

// AllowAddr decides.
func (a *access) AllowAddr(ctx context.Context, r *socks.Request, addr netip.AddrPort) error {
	s := newSubject(r, addr, socks.DestFrom(ctx), func() rules.Caller { return a.who(r) })
	return a.decide(r, s, false)
}

// decide applies the rules. early tells that the address may still be unknown.
func (a *access) decide(r *socks.Request, s rules.Subject, early bool) error {
	ip := s.Addr.Addr()
	undecided := "" // a rule that would have allowed
	for i := range a.rules {
		rule := &a.rules[i]
		switch rule.match.Matches(&s) {
		case rules.Yes:
			if !rule.allow {
				return fmt.Errorf("%w: rule %q", socks.ErrNotAllowed, rule.name)
			}
			if rule.match.NamesAddress(ip) {
				return nil
			}
			return a.reachable(r, ip, fmt.Sprintf(", and rule %q does not name it", rule.name))
		case rules.Maybe:
			if early {
				return nil // AllowAddr will tell
			}
		case rules.Unknown:
			if a.unknown != nil {
				a.unknown(r, rule.name)
			}
			if !rule.allow {
				return fmt.Errorf("%w: rule %q may apply: who asks cannot be found out", socks.ErrNotAllowed, rule.name)
			}
			undecided = fmt.Sprintf(", as who asks cannot be found out for rule %q", rule.name)
		}
	}
	if !r.Loopback() && !r.Authenticated {
		return fmt.Errorf("%w: no rule lets %v in%s", socks.ErrNotAllowed, clientOf(r), undecided)
	}
	return a.reachable(r, ip, "")
}

// clientOf names the client, for people.
func clientOf(r *socks.Request) string {
	if !r.Client.IsValid() {
		return "a client of the Unix socket"
	}
	return r.Client.Addr().String()
}

// reachable tells whether a client gets at an address that no rule names. An
// address that is not known yet is decided about later.
func (a *access) reachable(r *socks.Request, ip netip.Addr, why string) error {
	if !ip.IsValid() {
		return nil
	}
	switch k := detailsOf(r).kindOf(ip, a.kind); {
	case k == group:
		return fmt.Errorf("%w: %v is a broadcast or multicast address%s", socks.ErrNotAllowed, ip, why)
	case k == ownHost && !r.Loopback():
		return fmt.Errorf("%w: %v is this host's own%s", socks.ErrNotAllowed, ip, why)
	}
	return nil
}

// AllowSender lets an association take datagrams of its client only: on this host
// of the same user, else of the same address.
func (a *access) AllowSender(_ context.Context, r *socks.Request, from, to netip.AddrPort) error {
	who := a.who(r)
	if who.Elsewhere {
		if from.Addr() == r.Client.Addr() {
			return nil
		}
		return fmt.Errorf("%w: a datagram from %v, not from the client", socks.ErrNotAllowed, from.Addr())
	}
	uid, err := a.sender(from, to)
	switch {
	case err != nil:
		return fmt.Errorf("%w: whose datagrams come from %v cannot be found out: %w", socks.ErrNotAllowed, from, err)
	case !who.Known:
		return fmt.Errorf("%w: whose association it is cannot be found out", socks.ErrNotAllowed)
	case uid != who.UID:
		return fmt.Errorf("%w: %v belongs to user %d, the association to user %d", socks.ErrNotAllowed, from, uid, who.UID)
	}
	return nil
}
