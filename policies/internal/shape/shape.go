// Package shape holds what the answers of several policies have in common: how
// they treat sockets that the application bound itself, which idle socket they
// reuse, and in what order they name the candidates that they did not choose
// (doc/original/policies.md 3.6 to 3.9). What is chosen, and why, is each policy's own.
package shape

import (
	"slices"

	"github.com/socket-intents/mamma/policy"
)

// The reasons that several policies give.
const (
	ReasonBound       = "bound by the application"
	ReasonDefault     = "default prefix"
	ReasonNoDefault   = "no default prefix: no preference"
	ReasonFirstSocket = "first idle socket"
	ReasonNoPrefix    = "no usable prefix: no preference"
	ReasonUnresolved  = "this policy resolves no names"
	ReasonResolver    = "default resolver"

	ReasonBoundResolver = "resolver of the prefix that the application bound to"
)

// FirstSocket reuses the first offered socket, whatever its prefix, and tells
// whether there is one (shape B of doc/original/policies.md 3.9).
func FirstSocket(r *policy.Request) (policy.Decision, bool) {
	if r.Kind != policy.SocketChoose || len(r.Sockets) == 0 {
		return policy.Decision{}, false
	}
	return TakeSocket(r, &r.Sockets[0], ReasonFirstSocket), true
}

// TakeSocket reuses s, an element of r.Sockets. The decision names the socket's
// prefix only if it is a candidate and the application bound nothing.
func TakeSocket(r *policy.Request, s *policy.Socket, reason string) policy.Decision {
	d := policy.Decision{Socket: s, Multipath: s.Multipath, Reason: reason}
	if s.Prefix == nil || r.Bound.IsValid() {
		return d
	}
	for _, p := range r.Prefixes {
		if On(s, p) {
			d.Prefix = p
			d.Alternates = Alternates(r, p)
			break
		}
	}
	return d
}

// Bound answers a request whose socket the application bound itself: nothing
// is suggested, and the name is asked for as resolution says. With reuse (shape
// A) the first offered plain socket on the prefix of the bound address is taken.
func Bound(r *policy.Request, resolution policy.Resolution, reuse bool) policy.Decision {
	d := policy.Decision{Resolution: resolution, Reason: ReasonBound}
	if reuse && r.Kind == policy.SocketChoose && r.BoundPrefix != nil {
		d.Socket = Pick(r, r.BoundPrefix, false, nil)
	}
	return d
}

// Resolver answers a request that only looks a name up, where the policy has no
// opinion: the resolver of the prefix that the application bound to, else the
// default one.
func Resolver(r *policy.Request) policy.Decision {
	if r.BoundPrefix != nil {
		return policy.Decision{Reason: ReasonBoundResolver}
	}
	return policy.Decision{Resolution: policy.ResolveDefault, Reason: ReasonResolver}
}

// Default suggests the default prefix p, nil if there is none, for the given
// reason.
func Default(r *policy.Request, p *policy.Prefix, reason string) policy.Decision {
	if p == nil {
		reason = ReasonNoDefault
	}
	return Suggest(r, p, reason, "default")
}

// Suggest binds to p, a candidate or nil, with the other candidates as
// alternates. The scores only say note for p, so it suits policies that compare
// no numbers.
func Suggest(r *policy.Request, p *policy.Prefix, reason, note string) policy.Decision {
	d := Plain(r, p, reason, note)
	d.Alternates = Alternates(r, p)
	return d
}

// Plain is Suggest without alternates.
func Plain(r *policy.Request, p *policy.Prefix, reason, note string) policy.Decision {
	d := policy.Decision{Prefix: p, Reason: reason, Scores: make([]policy.Score, len(r.Prefixes))}
	for i, q := range r.Prefixes {
		d.Scores[i].Prefix = q
		if q == p {
			d.Scores[i].Note = note
		}
	}
	return d
}

// Alternates lists the candidates other than chosen, those marked default
// first, else in the request's order. Without a choice there are none: then the
// policy has no preference.
func Alternates(r *policy.Request, chosen *policy.Prefix) []*policy.Prefix {
	return Ranked(r, chosen, func(int) float64 { return 0 })
}

// Ranked is Alternates by ascending rank, a function of the candidate's index
// that never gives "not a number". Among equal ranks it orders as Alternates.
func Ranked(r *policy.Request, chosen *policy.Prefix, rank func(i int) float64) []*policy.Prefix {
	if chosen == nil || len(r.Prefixes) < 2 {
		return nil
	}
	list := make([]*policy.Prefix, 0, len(r.Prefixes)-1)
	var buf [16]float64 // on the stack for most hosts
	ranks := buf[:0]
	for i, p := range r.Prefixes {
		if p == chosen {
			continue
		}
		list, ranks = append(list, p), append(ranks, rank(i))
		for j := len(list) - 1; j > 0; j-- {
			if ranks[j] > ranks[j-1] || ranks[j] == ranks[j-1] && (!list[j].Default || list[j-1].Default) {
				break
			}
			list[j], list[j-1] = list[j-1], list[j]
			ranks[j], ranks[j-1] = ranks[j-1], ranks[j]
		}
	}
	return list
}

// LastDefault returns the last candidate marked default, which intents and the
// filesize policies use instead of the first one, else what stands in for it;
// nil if there is neither.
func LastDefault(r *policy.Request) *policy.Prefix {
	for _, p := range slices.Backward(r.Prefixes) {
		if p.Default {
			return p
		}
	}
	return r.StandIn
}
