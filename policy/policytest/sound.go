package policytest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/socket-intents/mamma/policy"
)

// Sound tells which rules of package policy a decision on r breaks; nil if it breaks
// none. In production the manager replaces such a decision by the default one, or drops
// its wrong part, and no user would find out why.
//
// A sound decision names only prefixes and sockets that the request offers, and no
// prefix twice. It has alternates only beside a prefix, and it gives a reason. If the
// application has bound its socket to an address, the decision names no prefix but the
// one around that address. A socket that is bound only to a port may be confined to one
// prefix, by Only.
//
// All faults are returned, joined. Sound also works with made-up requests, as in fuzz
// tests.
func Sound(r *policy.Request, d policy.Decision) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case d.Prefix == nil && len(d.Alternates) > 0:
		wrong("alternates %s without a first choice", Names(d.Alternates))
	case d.Prefix == nil || d.Prefix == r.BoundPrefix:
	case !slices.Contains(r.Prefixes, d.Prefix):
		wrong("the prefix %v is not a candidate", d.Prefix.ID)
	case r.Bound.IsValid() && (!r.Bound.IsUnspecified() || !d.Only):
		wrong("the prefix %v for a socket bound to %v", d.Prefix.ID, r.Bound)
	}
	seen := []*policy.Prefix{d.Prefix}
	for _, p := range d.Alternates {
		switch {
		case p == nil:
			wrong("an alternate is nil")
		case slices.Contains(seen, p):
			wrong("the alternate %v is named twice", p.ID)
		case !slices.Contains(r.Prefixes, p):
			wrong("the alternate %v is not a candidate", p.ID)
		}
		seen = append(seen, p)
	}
	if d.Socket != nil && !offers(r, d.Socket) {
		wrong("socket %d does not point into the request's", d.Socket.FD)
	}
	for _, s := range d.Scores {
		if !slices.Contains(r.Prefixes, s.Prefix) {
			wrong("a score for %s, which is not a candidate", Name(s.Prefix))
		}
		if s.Predicted < 0 {
			wrong("the prediction for %s is %v", Name(s.Prefix), s.Predicted)
		}
	}
	if d.Reason == "" {
		wrong("no reason is given")
	}
	return errors.Join(errs...)
}

func offers(r *policy.Request, s *policy.Socket) bool {
	for i := range r.Sockets {
		if s == &r.Sockets[i] {
			return true
		}
	}
	return false
}
