package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/socket-intents/mamma/internal/wire"
)

// lookup finds the addresses for c. It returns the candidate to use instead of c. The
// returned candidate is not bound to a source address if the addresses are loopback
// addresses, or if the manager has found that they cannot be reached from that source
// address.
func (d *Dialer) lookup(ctx context.Context, p *plan, c *candidate) (*candidate, error) {
	t := &p.target
	found := *c
	switch {
	case len(c.addrs) > 0:
		return c, nil
	case t.literal.IsValid():
		if !t.suits(t.literal, c.local) {
			return nil, errNoAddress
		}
		found.addrs = []netip.AddrPort{netip.AddrPortFrom(t.literal, t.port)}
		found.settle()
		return &found, nil
	case c.index != plain && p.features&wire.FeatureNoResolve != 0:
		answered, err := d.lookupOnNetwork(ctx, p, &found)
		if err != nil || answered {
			return &found, err
		}
	}
	addrs, err := d.lookupPlainly(ctx, t, c.local)
	found.addrs = addrs
	found.settle()
	return &found, err
}

// settle unbinds c if its addresses are loopback addresses, because a connection to
// loopback that is bound to a network times out. A manager that knows our extensions of
// the protocol unbinds such a candidate itself, if it knows the addresses. The daemon of
// the original does not.
func (c *candidate) settle() {
	if len(c.addrs) > 0 && c.addrs[0].Addr().IsLoopback() && !c.local.IsLoopback() {
		c.unbind()
	}
}

// lookupOnNetwork asks the manager to resolve the name on c's network. answered is false
// if the manager leaves the resolution to the client, or cannot be reached.
func (d *Dialer) lookupOnNetwork(ctx context.Context, p *plan, c *candidate) (answered bool, _ error) {
	t, dm := &p.target, d.daemon()
	q := question{intents: t.intents, resolves: func(wire.Features) bool { return true }}
	q.request = func(wire.Features) *wire.Message {
		m := &wire.Message{Action: wire.ActionResolveRequest, Context: t.context(), DecisionID: p.id}
		m.Context.Calls = wire.CallGetaddrinfo
		if c.local.IsValid() {
			m.Context.BindSuggested = sockAddr(netip.AddrPortFrom(c.local, 0))
			m.Context.Hint[0].Family = wire.AFInet6
			if c.local.Is4() {
				m.Context.Hint[0].Family = wire.AFInet
			}
		}
		m.SetIntents(t.intents)
		return m
	}
	var ans wire.Message
	if _, err := dm.ask(ctx, q, &ans); err != nil {
		return false, nil
	}
	if ans.Action == wire.ActionErrorResolve {
		return true, errNotResolved
	}
	if len(ans.Context.Result) == 0 {
		return false, nil
	}
	if len(ans.Paths) > 0 {
		c.measured(ans.Paths[0]) // the path to the destination, which was unknown before
	}
	if c.local.IsValid() && !ans.Context.BindSuggested.IsValid() {
		c.unbind()
	}
	if c.addrs = t.addresses(ans.Context.Result, c.local); len(c.addrs) == 0 {
		return true, errNoAddress
	}
	return true, nil
}

// unbind leaves the choice of source address and interface to the kernel.
func (c *candidate) unbind() {
	c.local, c.device = netip.Addr{}, ""
	c.rtt, c.suspect = 0, false // measured on the path to which c was bound
	var rest []wire.SockOpt
	for _, o := range c.options {
		if o.Level != wire.SolSocket || o.Name != wire.SoBindToDevice {
			rest = append(rest, o)
		}
	}
	c.options = rest
}

// lookupPlainly resolves the name without the manager.
func (d *Dialer) lookupPlainly(ctx context.Context, t *target, local netip.Addr) ([]netip.AddrPort, error) {
	if t.strict() && t.host != "localhost" {
		return nil, fmt.Errorf("%w: the host's resolver may ask over any network", t.permits(site{}))
	}
	network := "ip"
	switch t.family {
	case wire.AFInet:
		network = "ip4"
	case wire.AFInet6:
		network = "ip6"
	}
	resolver := d.Net.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	ips, err := resolver.LookupNetIP(ctx, network, t.host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		if ip = ip.Unmap(); t.suits(ip, local) {
			addrs = append(addrs, netip.AddrPortFrom(ip, t.port))
		}
	}
	if len(addrs) == 0 {
		return nil, errNoAddress
	}
	return interleave(addrs), nil
}

// interleave orders the addresses so that IPv4 and IPv6 alternate. The family of the first
// address comes first. Within a family the order stays the same (RFC 8305 section 4).
func interleave(addrs []netip.AddrPort) []netip.AddrPort {
	var same, other []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}
