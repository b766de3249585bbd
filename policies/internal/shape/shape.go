// Package shape holds the parts of answers that several policies have in common: how
// they treat sockets that the application bound itself, which idle socket they reuse,
// and in what order they name the candidates that they did not choose
// (doc/original/policies.md 3.6 to 3.9). Each policy itself decides what to choose, and
// why.
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

// FirstSocket reuses the first offered socket, whatever its prefix. ok is false if no
// socket is offered (shape B of doc/original/policies.md 3.9).
func FirstSocket(r *policy.Request) (policy.Decision, bool) {
	if r.Kind != policy.SocketChoose || len(r.Sockets) == 0 {
		return policy.Decision{}, false
	}
	return TakeSocket(r, &r.Sockets[0], ReasonFirstSocket), true
}

// TakeSocket reuses s, an element of r.Sockets. The decision names the socket's prefix
// only if that prefix is a candidate and the application has bound nothing.
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

// Bound answers a request whose socket the application bound itself. It suggests
// nothing; resolution says which resolver looks the name up. With reuse (shape A) it
// takes the first offered socket without MPTCP on the prefix of the bound address.
func Bound(r *policy.Request, resolution policy.Resolution, reuse bool) policy.Decision {
	d := policy.Decision{Resolution: resolution, Reason: ReasonBound}
	if reuse && r.Kind == policy.SocketChoose && r.BoundPrefix != nil {
		d.Socket = Pick(r, r.BoundPrefix, false, nil)
	}
	return d
}

// Resolver answers a request that only looks a name up, for policies without an
// opinion. It chooses the resolver of the prefix that the application bound to, else
// the default one.
func Resolver(r *policy.Request) policy.Decision {
	if r.BoundPrefix != nil {
		return policy.Decision{Reason: ReasonBoundResolver}
	}
	return policy.Decision{Resolution: policy.ResolveDefault, Reason: ReasonResolver}
}

// Default suggests the default prefix p, which may be nil, for the given reason.
func Default(r *policy.Request, p *policy.Prefix, reason string) policy.Decision {
	if p == nil {
		reason = ReasonNoDefault
	}
	return Suggest(r, p, reason, "default")
}

// Suggest binds to p, which is a candidate or nil, with the other candidates as
// alternates. The scores contain only note, at p, so Suggest is for policies that
// compare no numbers.
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

// Alternates lists the candidates except chosen. Those marked default come first, then
// the others in the request's order. If chosen is nil, the list is empty, because the
// policy then has no preference.
func Alternates(r *policy.Request, chosen *policy.Prefix) []*policy.Prefix {
	return Ranked(r, chosen, func(int) float64 { return 0 })
}

// Ranked is Alternates sorted by ascending rank, a function of the candidate's index
// that must not return NaN. Candidates of equal rank keep the order of Alternates.
func Ranked(r *policy.Request, chosen *policy.Prefix, rank func(i int) float64) []*policy.Prefix {
	if chosen == nil || len(r.Prefixes) < 2 {
		return nil
	}
	list := make([]*policy.Prefix, 0, len(r.Prefixes)-1)
	var buf [16]float64 // on the stack, and enough for most hosts
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

// LastDefault returns the last candidate marked default, or else the stand-in; nil if
// there is neither. The policies intents and filesize use it where others use the first
// one.
func LastDefault(r *policy.Request) *policy.Prefix {
	for _, p := range slices.Backward(r.Prefixes) {
		if p.Default {
			return p
		}
	}
	return r.StandIn
}
