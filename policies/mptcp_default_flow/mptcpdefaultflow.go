// Package mptcpdefaultflow is the policy that opens connections with MPTCP on
// the default prefix, and lets one interface, chosen at run time, carry further
// subflows (doc/original/policies.md section 17).
package mptcpdefaultflow

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const reasonDefault = "MPTCP on the default prefix"

// Policy is the mptcp_default_flow policy. Its state is the active address.
type Policy struct{ active netip.Addr }

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.Reconfigurer   = (*Policy)(nil)
	_ policy.SubflowChooser = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
)

// New makes the policy. It has no settings of its own; prefixes have allowflow,
// which is only printed. The address of the last default prefix is active first.
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

// Choose reuses the first offered socket, whatever its prefix and protocol. Else
// it suggests the first default prefix, and MPTCP but where idle sockets were
// asked for and none was there, as in the original.
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

// ChooseResolver asks the resolver of the prefix that the application bound to,
// else the default one.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision { return shape.Resolver(r) }

// Reconfigure makes the address in text, IPv4 or IPv6, the active one. It need
// not be one of the host's: an interface may be on its way.
func (p *Policy) Reconfigure(text string, _ []*policy.Prefix) error {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("active interface: want an IPv4 or IPv6 address: %w", err)
	}
	p.active = a
	return nil
}

// ChooseSubflows wants a subflow from the prefix with the active address, if it
// is not that of the first one. The manager asks again after Reconfigure, so that running
// connections get theirs then, as in the original; it remembers what could be opened.
func (p *Policy) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	for _, q := range r.Prefixes {
		if slices.Contains(q.Addrs, p.active) && (r.First == nil || r.First.ID != q.ID) {
			return []policy.Subflow{{Prefix: q}}
		}
	}
	return nil
}

// Active is the address whose interface carries further subflows, invalid if
// there was no default prefix and none was chosen.
func (p *Policy) Active() netip.Addr { return p.active }

// Annotate says whether the prefix may carry subflows; the original does not mark
// default prefixes here.
func (p *Policy) Annotate(q *policy.Prefix) string {
	if n, _ := q.Options.Number("allowflow"); n == 1 {
		return " (flows allowed)"
	}
	return " (flows not allowed)"
}
