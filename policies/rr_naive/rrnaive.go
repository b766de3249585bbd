// Package rrnaive is the policy that uses the next prefix for every connection,
// whatever its purpose (doc/original/policies.md section 5).
package rrnaive

import (
	"github.com/socket-intents/mamma/policies/internal/rotation"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const reasonTurn = "round robin"

// Policy is the naive round-robin policy. Its state is the candidate chosen last,
// separately for IPv4, for IPv6 and for requests that accept both.
type Policy struct{ turn rotation.Rotation }

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
)

// New makes the policy. It has no settings.
func New(cfg policy.Config) (policy.Policy, error) {
	if err := cfg.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}); err != nil {
		return nil, err
	}
	return &Policy{}, nil
}

// Choose suggests the next candidate, unless the application bound the socket itself.
// It reuses no idle sockets.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	if r.Bound.IsValid() {
		return shape.Bound(r, policy.ResolveOnPrefix, false)
	}
	next, others := p.turn.Next(r)
	if next == nil {
		return policy.Decision{Reason: shape.ReasonNoPrefix}
	}
	d := shape.Plain(r, next, reasonTurn, "next")
	d.Alternates = others
	return d
}

// ChooseResolver leaves it to the client to resolve the name, as in the Socket Intents
// prototype.
func (p *Policy) ChooseResolver(*policy.Request) policy.Decision {
	return policy.Decision{Resolution: policy.ResolveNever, Reason: shape.ReasonUnresolved}
}
