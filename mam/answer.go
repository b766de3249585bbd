package mam

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// The functions of this file turn the received message into the answer. Fields that the
// client has set and that no function changes stay as they are: the original's daemon
// echoes them, and its clients may read them.

// putDecision writes the decision into m: source address, device, options, protocol.
// Clients that announced no extensions get options with flags 0. For them an option
// that cannot be set is not fatal (doc/original/client-and-socks.md 7.4).
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

// confined returns the prefix that a socket with an address of the application must not
// leave. The prefix is nil if the socket may leave every prefix. A socket that the
// application bound only to a port belongs to no network yet, so the policy's prefix is
// returned.
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

// appendDevice appends the option that binds a socket to p's interface, if the socket
// needs such an option.
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

// device returns the interface that a socket of the prefix must be bound to, or "" if
// the source address is enough. The source address is never enough if the decision
// permits no other network: a route may have changed by the time of the connect, and
// may then lead elsewhere.
func (rq *request) device(p *policy.Prefix) string {
	if dev := rq.view.Devices[p.ID]; dev != "" || !rq.decision.Only {
		return dev
	}
	return p.Interface
}

// local returns the address of a prefix that a client binds to, with port 0. If the
// kernel itself would use one of the prefix's addresses towards this destination, local
// returns that address.
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

// protocol returns the protocol number to open a socket of this type with.
func protocol(typ int32, multipath bool) int32 {
	switch {
	case typ == wire.SockDgram:
		return wire.ProtoUDP
	case multipath:
		return wire.ProtoMPTCP
	}
	return wire.ProtoTCP
}

// putResult writes the addresses that the resolver found into m, and makes the first of
// them the address to connect to. A request without a socket type gets an entry for
// streams and one for datagrams, as from getaddrinfo(3).
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

// usualProtocol is the protocol that getaddrinfo(3) gives for a socket type.
func usualProtocol(typ int32) int32 {
	switch typ {
	case wire.SockStream:
		return wire.ProtoTCP
	case wire.SockDgram:
		return wire.ProtoUDP
	}
	return 0
}

// putSocket makes m the answer that the client uses an idle socket again. The answer
// has the context that was stored with the socket. Only the context id is that of this
// connection.
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
