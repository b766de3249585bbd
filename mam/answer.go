package mam

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// The functions of this file turn the message that came into the answer to it.
// What the client said stays, as the original echoes it.

// putDecision writes the decision into m: source address, device, options,
// protocol. To peers that announced nothing, options carry flags 0, so that one
// that fails is not fatal (doc/original/client-and-socks.md 7.4).
func (rq *request) putDecision(m *wire.Message, features wire.Features) {
	c, d := &m.Context, &rq.decision
	c.OptionsSuggested = c.OptionsSuggested[:0]
	c.BindSuggested = wire.SockAddr{}
	m.Alternates = m.Alternates[:0]
	if d.Prefix != nil && !rq.asked.Bound.IsValid() {
		c.BindSuggested = rq.local(d.Prefix)
		if !rq.mapped {
			c.Domain = domain(d.Prefix.Family())
		}
		c.OptionsSuggested = rq.appendDevice(c.OptionsSuggested, d.Prefix, features)
	} else if p := rq.confined(); p != nil {
		c.OptionsSuggested = rq.appendDevice(c.OptionsSuggested, p, features)
	}
	for _, o := range d.Options {
		c.OptionsSuggested = append(c.OptionsSuggested, wire.SockOpt{
			Level: o.Level, Name: o.Name, Value: o.Value, Flags: optionFlags(features, o.Optional),
		})
	}
	if features&wire.FeatureAlternates != 0 && !rq.asked.Bound.IsValid() {
		for _, p := range d.Alternates {
			m.Alternates = append(m.Alternates, wire.Alternate{
				Local: rq.local(p), Device: rq.device(p), Protocol: protocol(c.Type, d.Multipath),
			})
		}
	}
	m.Race = d.Race && len(m.Alternates) > 0
	p, alternates := d.Prefix, d.Alternates
	if rq.asked.Bound.IsValid() {
		p, alternates = rq.asked.BoundPrefix, nil
	}
	if features&wire.FeaturePaths != 0 {
		m.Paths = rq.paths(m.Paths, p, alternates)
	}
	if features&wire.FeatureCosts != 0 {
		m.Costs = costs(m.Costs, p, alternates)
	}
	if d.Only {
		m.Only = wire.OnlyThese
		if rq.refused {
			m.Only |= wire.OnlyNone
		}
		if rq.selected {
			m.Only |= wire.OnlySelected
		}
	}
	if features&wire.FeatureReason != 0 {
		m.Reason = d.Reason
		if rq.fallback != "" && (!rq.refused || !rq.selected) {
			m.Reason = rq.fallback
		}
	}
}

// confined is the prefix that a socket which the application has bound must be kept to,
// nil if it is not. Where the application has bound it to no network, but to a port, that
// is the policy's.
func (rq *request) confined() *policy.Prefix {
	d, r := &rq.decision, &rq.asked
	switch {
	case !d.Only || rq.refused:
		return nil
	case r.Bound.IsUnspecified():
		return d.Prefix
	}
	return r.BoundPrefix
}

// appendDevice appends the option that binds a socket to p's interface, if it is to be.
func (rq *request) appendDevice(list []wire.SockOpt, p *policy.Prefix, features wire.Features) []wire.SockOpt {
	dev := rq.device(p)
	if dev == "" {
		return list
	}
	return append(list, wire.SockOpt{
		Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: append([]byte(dev), 0), Flags: optionFlags(features, !rq.decision.Only),
	})
}

func optionFlags(features wire.Features, optional bool) wire.SockOptFlags {
	if features != 0 && optional {
		return wire.SockOptOptional
	}
	return 0
}

// device is the interface that a socket of the prefix is to be bound to, "" if its
// source address is enough. Where nothing else may be used it never is: routes may
// lead elsewhere by the time of the connect.
func (rq *request) device(p *policy.Prefix) string {
	if dev := rq.view.Devices[p.ID]; dev != "" || !rq.decision.Only {
		return dev
	}
	return p.Interface
}

// local is a prefix's address as a client binds to it, with port 0. Where the kernel
// would use one of the prefix's addresses towards this destination, it is that one.
func (rq *request) local(p *policy.Prefix) wire.SockAddr {
	a := p.Addr()
	if slices.Contains(p.Addrs, rq.source) {
		a = rq.source
	}
	if rq.mapped {
		a = netip.AddrFrom16(a.As16())
	}
	return wire.SockAddr{AddrPort: netip.AddrPortFrom(a, 0)}
}

// protocol is what a socket of this type is to be opened with.
func protocol(typ int32, multipath bool) int32 {
	switch {
	case typ == wire.SockDgram:
		return wire.ProtoUDP
	case multipath:
		return wire.ProtoMPTCP
	}
	return wire.ProtoTCP
}

// putResult writes what the resolver found into m: the list, and its first entry as
// the address to connect to. A request without a socket type gets stream and
// datagram entries, as getaddrinfo(3) gives.
func (rq *request) putResult(m *wire.Message) {
	c := &m.Context
	hint := hint(c)
	typ := rq.socketType(c)
	types := []int32{typ}
	if typ == 0 {
		types = []int32{wire.SockStream, wire.SockDgram}
	}
	c.Result = c.Result[:0]
	for _, a := range rq.result.Addrs {
		for _, t := range types {
			e := wire.AddrInfo{
				Family: domain(policy.FamilyOf(a)), Type: t, Protocol: hint.Protocol,
				Addr: wire.SockAddr{AddrPort: netip.AddrPortFrom(a, rq.asked.Port)},
			}
			if e.Protocol == 0 || t != typ {
				e.Protocol = usualProtocol(t)
			}
			if len(c.Result) == 0 && hint.Flags&aiCanonName != 0 {
				e.CanonName = rq.result.Canonical
			}
			if rq.decision.Multipath && !rq.view.NoMultipath && !rq.resolves() && t == wire.SockStream {
				e.Protocol = wire.ProtoMPTCP
			}
			c.Result = append(c.Result, e)
		}
	}
	if len(c.Result) > 0 {
		e := &c.Result[0]
		c.Domain, c.Type, c.Protocol, c.Remote = e.Family, e.Type, e.Protocol, e.Addr
	}
}

// usualProtocol is what getaddrinfo(3) gives for a socket type.
func usualProtocol(typ int32) int32 {
	switch typ {
	case wire.SockStream:
		return wire.ProtoTCP
	case wire.SockDgram:
		return wire.ProtoUDP
	}
	return 0
}

// putSocket makes m the answer that an idle socket is to be used again. The answer
// has that socket's stored context, except for the context id, which is the
// connection's.
func (rq *request) putSocket(m *wire.Message, features wire.Features) {
	if features&wire.FeatureReason != 0 {
		m.Reason = rq.decision.Reason
	}
	for i := range m.Sockets {
		if m.Sockets[i].FD == rq.decision.Socket.FD {
			m.Context, m.Sockets[i].Context = m.Sockets[i].Context, wire.Context{}
			m.Sockets[0], m.Sockets[i] = m.Sockets[i], m.Sockets[0]
			break
		}
	}
	m.Sockets = m.Sockets[:1]
}
