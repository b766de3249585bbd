package proxy

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// access decides who may connect where. The first rule that matches decides. A rule
// may depend on who asks, and the asking process cannot always be found: then a rule
// that allows is skipped, and a rule that denies refuses the request.
//
// If no rule matches, clients on this host and clients with a password are let in,
// and all others refused. While the address is unknown, a request passes if the rules may
// allow it in the end. Nothing is done for the others, not even a name resolved.
//
// Two kinds of destination need a rule that names the address. The first are this
// host's own addresses, for clients on other hosts: otherwise a rule that lets in a
// network would open every local service to that network, from behind the host's
// firewall. The second are broadcast and multicast addresses, for everybody.
type access struct {
	rules []rule
	who   func(*socks.Request) rules.Caller
	// kind says whether the kernel takes an address for the host's own, for a group
	// of hosts, or for another host.
	kind func(netip.Addr) addrKind
	// sender returns the user whose socket on this host sends datagrams from one
	// address to the other. last is what it found for the same client before.
	sender func(from, to netip.AddrPort, last *portOwner) (uid uint32, err error)
	// unknown is called for each rule that depends on a client who cannot be found;
	// nil: nothing is called.
	unknown func(r *socks.Request, rule string)
}

var (
	_ socks.Rules       = (*access)(nil)
	_ socks.SenderRules = (*access)(nil)
	_ socks.NameRules   = (*access)(nil)
)

// Allow decides before the destination's name is resolved. A request whose decision
// depends on the address passes here; AllowAddr decides it.
func (a *access) Allow(_ context.Context, r *socks.Request) error {
	detailsOf(r) // made now, because the metrics read them as soon as the request is under way
	s := newSubject(r, netip.AddrPort{}, socks.Addr{}, func() rules.Caller { return a.who(r) })
	return a.decide(r, s, true)
}

// AllowName decides about a name in a datagram before the name is resolved, as Allow does
// about the name in a request.
func (a *access) AllowName(_ context.Context, r *socks.Request, dest socks.Addr) error {
	s := towards(r, dest, func() rules.Caller { return a.who(r) })
	return a.decide(r, s, true)
}

// AllowAddr decides about one address of the destination.
func (a *access) AllowAddr(ctx context.Context, r *socks.Request, addr netip.AddrPort) error {
	s := newSubject(r, addr, socks.DestFrom(ctx), func() rules.Caller { return a.who(r) })
	return a.decide(r, s, false)
}

// matches tells whether the rule applies. A name that nobody has checked is nobody's: a
// rule by name then depends on who asks, which cannot be found out.
func (rule *rule) matches(r *socks.Request, s *rules.Subject) rules.Verdict {
	if len(rule.match.Users) == 0 || r.Authenticated {
		return rule.match.Matches(s)
	}
	anybody := rule.match
	anybody.Users = nil
	return min(anybody.Matches(s), rules.Unknown)
}

// doubtful tells whether it cannot be found out if the rule is about this client, whatever
// the destination is.
func (rule *rule) doubtful(r *socks.Request, s *rules.Subject) bool {
	client := *rule
	client.match.Destinations, client.match.Ports = nil, nil
	return client.matches(r, s) == rules.Unknown
}

// decide applies the rules. early means that the address may still be unknown.
func (a *access) decide(r *socks.Request, s rules.Subject, early bool) error {
	ip := s.Addr.Addr()
	undecided := "" // why a rule that allows was skipped, for the error
	for i := range a.rules {
		rule := &a.rules[i]
		verdict := rule.matches(r, &s)
		if verdict == rules.Maybe && rule.allow && rule.doubtful(r, &s) {
			verdict = rules.Unknown // whatever the address is
		}
		switch verdict {
		case rules.Yes:
			if !rule.allow {
				return fmt.Errorf("%w: rule %q", socks.ErrNotAllowed, rule.name)
			}
			if rule.match.NamesAddress(ip) {
				return nil
			}
			return a.reachable(r, ip, fmt.Sprintf(", and rule %q does not name it", rule.name))
		case rules.Maybe:
			if early && rule.allow {
				return nil // AllowAddr decides when the address is known
			}
			// If a rule that denies does not apply, those after it decide.
		case rules.Unknown:
			if a.unknown != nil {
				a.unknown(r, rule.name)
			}
			if !rule.allow {
				return fmt.Errorf("%w: rule %q may apply, but it cannot be found out who asks", socks.ErrNotAllowed, rule.name)
			}
			undecided = fmt.Sprintf(", as it cannot be found out who asks, for rule %q", rule.name)
		}
	}
	if !r.Loopback() && !r.Authenticated {
		return fmt.Errorf("%w: no rule lets %v in%s", socks.ErrNotAllowed, clientOf(r), undecided)
	}
	return a.reachable(r, ip, "")
}

// clientOf names the client in error messages.
func clientOf(r *socks.Request) string {
	if !r.Client.IsValid() {
		return "a client of the Unix socket"
	}
	return r.Client.Addr().String()
}

// reachable refuses the addresses that need a rule which names them (see access); why
// ends the error. An address that is not known yet passes: AllowAddr decides later.
func (a *access) reachable(r *socks.Request, ip netip.Addr, why string) error {
	if !ip.IsValid() {
		return nil
	}
	switch k := a.kind(ip); {
	case k == group:
		return fmt.Errorf("%w: %v is a broadcast or multicast address%s", socks.ErrNotAllowed, ip, why)
	case k == ownHost && !r.Loopback():
		return fmt.Errorf("%w: %v is this host's own%s", socks.ErrNotAllowed, ip, why)
	}
	return nil
}

// AllowSender lets an association take datagrams of its client only. On this host the
// sender's socket must belong to the client's user, because an address is shared by
// all users. From elsewhere the address must be the client's.
func (a *access) AllowSender(_ context.Context, r *socks.Request, from, to netip.AddrPort) error {
	who := a.who(r)
	if who.Elsewhere {
		if from.Addr() == r.Client.Addr() {
			return nil
		}
		return fmt.Errorf("%w: a datagram from %v, not from the client", socks.ErrNotAllowed, from.Addr())
	}
	uid, err := a.sender(from, to, &detailsOf(r).port)
	switch {
	case err != nil:
		return fmt.Errorf("%w: it cannot be found out whose datagrams come from %v: %w", socks.ErrNotAllowed, from, err)
	case !who.Known:
		return fmt.Errorf("%w: it cannot be found out whose association it is", socks.ErrNotAllowed)
	case uid != who.UID:
		return fmt.Errorf("%w: %v belongs to user %d, the association to user %d", socks.ErrNotAllowed, from, uid, who.UID)
	}
	return nil
}
