// Package mptcpdefaultflow is the policy that opens connections with MPTCP on the
// default prefix. Further subflows go over one interface, which is chosen at run time
// (doc/original/policies.md section 17).
package mptcpdefaultflow

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const reasonDefault = "MPTCP on the default prefix"

// Policy is the mptcp_default_flow policy. Its state is the active address, whose
// interface carries further subflows.
type Policy struct{ active netip.Addr }

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.Reconfigurer   = (*Policy)(nil)
	_ policy.SubflowChooser = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
)

// New makes the policy. It has no settings of its own; prefixes have allowflow, which
// is only printed. At first the address of the last default prefix is active.
func New(cfg policy.Config) (policy.Policy, error) {
	if err := cfg.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	var opts struct {
		AllowFlow int64 `mam:"allowflow"`
	}
	if err := cfg.CheckPrefixes(&opts); err != nil {
		return nil, err
	}
	p := &Policy{}
	for _, q := range cfg.Prefixes {
		if q.Default {
			p.active = q.Addr()
		}
	}
	return p, nil
}

// Choose reuses the first offered socket, whatever its prefix and protocol. Without a
// socket it suggests the first default prefix. It asks for MPTCP, except if the request
// was for an idle socket and none was offered. The Socket Intents prototype does the
// same.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	if d, ok := shape.FirstSocket(r); ok {
		return d
	}
	multipath := r.Kind != policy.SocketChoose
	reason := reasonDefault
	if !multipath {
		reason = shape.ReasonDefault
	}
	d := shape.Bound(r, policy.ResolveOnPrefix, false)
	if !r.Bound.IsValid() {
		d = shape.Default(r, r.DefaultPrefix(), reason)
	}
	d.Multipath = multipath
	return d
}

// ChooseResolver chooses the resolver of the prefix that the application bound to, else
// the default one.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision { return shape.Resolver(r) }

// Reconfigure makes the address in text, IPv4 or IPv6, the active one. The host need
// not have the address yet, because its interface may come up later.
func (p *Policy) Reconfigure(text string, _ []*policy.Prefix) error {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("active interface: want an IPv4 or IPv6 address: %w", err)
	}
	p.active = a
	return nil
}

// ChooseSubflows names a subflow from the prefix with the active address, unless the
// first subflow is there. The manager asks again after Reconfigure, so that running
// connections get the new subflow, as in the Socket Intents prototype. The manager
// remembers which subflows could be opened.
func (p *Policy) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	for _, q := range r.Prefixes {
		if slices.Contains(q.Addrs, p.active) && (r.First == nil || r.First.ID != q.ID) {
			return []policy.Subflow{{Prefix: q}}
		}
	}
	return nil
}

// Active returns the address whose interface carries further subflows. It is invalid if
// there was no default prefix and Reconfigure was not called.
func (p *Policy) Active() netip.Addr { return p.active }

// Annotate says whether the prefix may carry subflows. It does not mark default
// prefixes, since the policy of the Socket Intents prototype does not either.
func (p *Policy) Annotate(q *policy.Prefix) string {
	if n, _ := q.Options.Number("allowflow"); n == 1 {
		return " (flows allowed)"
	}
	return " (flows not allowed)"
}
