package mam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policy"
)

// resolve looks up the name that a new socket will connect to. The lookup is for the
// family of the chosen prefix, so that address and prefix fit together. If the host has
// no address of that family, the decision is made again for the other family. If only
// some prefixes reach the address, the policy is asked once more, about these prefixes.
// The result mine has the meaning that it has in Manager.choose.
func (c *conn) resolve() (mine bool, err error) {
	rq := c.req
	f := rq.asked.Network.Family
	p := rq.decision.Prefix
	if p == nil {
		p = rq.asked.BoundPrefix
	}
	if p != nil {
		f = p.Family()
	}
	if err := rq.checkName(&c.msg.Context, &c.m.services); err != nil {
		rq.decision.Prefix, rq.decision.Alternates = nil, nil
		return true, err
	}
	err = c.m.resolve(c.ctx, rq, p, f)
	if errors.Is(err, ErrNotFound) && rq.asked.Network.Family == policy.Unspecified && f != policy.Unspecified && !rq.asked.Bound.IsValid() {
		other := policy.IPv4
		if f == policy.IPv4 {
			other = policy.IPv6
		}
		rq.narrow(other, netip.Addr{})
		if !c.m.choose(rq, c.takeover) {
			return false, nil
		}
		err = c.m.resolve(c.ctx, rq, rq.decision.Prefix, other)
	}
	if err != nil {
		rq.decision.Prefix, rq.decision.Alternates = nil, nil
		return true, err
	}
	dst := rq.result.Addrs[0]
	if dst.IsUnspecified() { // connecting to the unspecified address connects to this host
		dst = nameless(policy.FamilyOf(dst), false)[0]
	}
	rq.narrow(policy.FamilyOf(dst), dst)
	if rq.decision.Prefix != nil && !rq.offered(rq.decision.Prefix) {
		return c.m.choose(rq, c.takeover), nil
	}
	return true, nil
}

// literal parses an address that stands in place of a name. A zone may be a number or
// the name of an interface of this host, as with the original; the result has the
// number.
func (v *View) literal(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() == "" {
		return a, err == nil
	}
	if v.Zone != nil {
		if index, ok := v.Zone(a.Zone()); ok {
			return a.WithZone(strconv.Itoa(index)), true
		}
	}
	n, err := strconv.ParseUint(a.Zone(), 10, 32)
	return a.WithZone(strconv.FormatUint(n, 10)), err == nil
}

// resolve looks up the request's name over p and leaves the result in rq. If p's own
// resolver does not know the name, the default resolver is asked too: it may know names
// of the local network.
func (m *Manager) resolve(ctx context.Context, rq *request, p *policy.Prefix, f policy.Family) error {
	if rq.asked.Host == "" {
		rq.result = Result{Addrs: nameless(f, rq.passive)}
		return nil
	}
	if a, ok := rq.view.literal(rq.asked.Host); ok {
		if f != policy.IPv6 {
			a = a.Unmap()
		}
		if f != policy.Unspecified && policy.FamilyOf(a) != f {
			return fmt.Errorf("resolve %s: not an %v address: %w", rq.asked.Host, f, ErrNotFound)
		}
		rq.result = Result{Addrs: []netip.Addr{a}}
		return nil
	}
	if strings.Contains(rq.asked.Host, "%") {
		return fmt.Errorf("resolve %s: no such zone: %w", rq.asked.Host, ErrNotFound)
	}
	first, own := rq.view.resolverOf(p)
	if rq.decision.Resolution == policy.ResolveDefault {
		first, own = rq.view.Resolver, false
	}
	if first == nil {
		return fmt.Errorf("resolve %s: no resolver", rq.asked.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.ResolveTimeout)
	defer cancel()
	var err error
	rq.result, err = first.Lookup(ctx, rq.asked.Host, f)
	if errors.Is(err, ErrNotFound) && own && rq.view.Resolver != nil && !exists(ctx, first, rq.asked.Host, f) {
		rq.result, err = rq.view.Resolver.Lookup(ctx, rq.asked.Host, f)
	}
	if err == nil && len(rq.result.Addrs) == 0 {
		err = fmt.Errorf("resolve %s: empty answer: %w", rq.asked.Host, ErrNotFound)
	}
	return err
}

// exists is called when resolver r has no address of family f for host. It tells
// whether r has one of the other family. If so, r knows the name, and no other resolver
// has to be asked.
func exists(ctx context.Context, r Resolver, host string, f policy.Family) bool {
	other := policy.IPv4
	switch f {
	case policy.IPv4:
		other = policy.IPv6
	case policy.Unspecified:
		return false
	}
	_, err := r.Lookup(ctx, host, other)
	return err == nil
}
