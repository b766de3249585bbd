package mam

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// reply turns m, the request, into its answer: everything the client said is
// echoed, as the original does, and what was decided is filled in.

// suggest fills in the decision: source address, device, options, protocol.
// To peers that announced nothing, options carry flags 0, so that one that fails
// is not fatal (doc/original/client-and-socks.md 7.4).
func (w *work) suggest(m *wire.Message, features wire.Features) {
	c, d := &m.Context, &w.decision
	c.OptionsSuggested = c.OptionsSuggested[:0]
	c.BindSuggested = wire.SockAddr{}
	m.Alternates = m.Alternates[:0]
	if d.Prefix != nil && !w.req.Bound.IsValid() {
		c.BindSuggested = w.local(d.Prefix)
		if !w.mapped {
			c.Domain = domain(d.Prefix.Family())
		}
		if dev := w.view.Devices[d.Prefix.ID]; dev != "" {
			c.OptionsSuggested = append(c.OptionsSuggested, wire.SockOpt{
				Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: append([]byte(dev), 0), Flags: optionFlags(features, true),
			})
		}
	}
	for _, o := range d.Options {
		c.OptionsSuggested = append(c.OptionsSuggested, wire.SockOpt{
			Level: o.Level, Name: o.Name, Value: o.Value, Flags: optionFlags(features, o.Optional),
		})
	}
	if features&wire.FeatureAlternates != 0 && !w.req.Bound.IsValid() {
		for _, p := range d.Alternates {
			m.Alternates = append(m.Alternates, wire.Alternate{
				Local: w.local(p), Device: w.view.Devices[p.ID], Protocol: protocol(c.Type, d.Multipath),
			})
		}
	}
	if features&wire.FeaturePaths != 0 {
		p, alternates := d.Prefix, d.Alternates
		if w.req.Bound.IsValid() {
			p, alternates = w.req.BoundPrefix, nil
		}
		m.Paths = w.paths(m.Paths, p, alternates)
	}
	if features&wire.FeatureReason != 0 {
		m.Reason = d.Reason
		if w.fallback != "" {
			m.Reason = w.fallback
		}
	}
}

func optionFlags(features wire.Features, optional bool) wire.SockOptFlags {
	if features != 0 && optional {
		return wire.SockOptOptional
	}
	return 0
}

// local is a prefix's address as a client binds to it: port 0. Of several it is that
// which the kernel would use towards this destination, if it has a choice of its own there.
func (w *work) local(p *policy.Prefix) wire.SockAddr {
	a := p.Addr()
	if slices.Contains(p.Addrs, w.source) {
		a = w.source
	}
	if w.mapped {
		a = netip.AddrFrom16(a.As16())
	}
	return wire.SockAddr{AddrPort: netip.AddrPortFrom(a, 0)}
}

// protocol is what a socket for the decision is opened with. Classic connect
// requests have their socket already.
func protocol(typ int32, multipath bool) int32 {
	switch {
	case typ == wire.SockDgram:
		return wire.ProtoUDP
	case multipath:
		return wire.ProtoMPTCP
	}
	return wire.ProtoTCP
}

// results fills in what the resolver found: the list, and its first entry as the
// address to connect to. A request without a socket type gets stream and
// datagram entries, as getaddrinfo(3) gives.
func (w *work) results(m *wire.Message) {
	c := &m.Context
	hint := hint(c)
	typ := w.socketType(c)
	types := []int32{typ}
	if typ == 0 {
		types = []int32{wire.SockStream, wire.SockDgram}
	}
	c.Result = c.Result[:0]
	for _, a := range w.answer.Addrs {
		for _, t := range types {
			e := wire.AddrInfo{
				Family: domain(policy.FamilyOf(a)), Type: t, Protocol: hint.Protocol,
				Addr: wire.SockAddr{AddrPort: netip.AddrPortFrom(a, w.req.Port)},
			}
			if e.Protocol == 0 || t != typ {
				e.Protocol = usualProtocol(t)
			}
			if len(c.Result) == 0 && hint.Flags&aiCanonName != 0 {
				e.CanonName = w.answer.Canonical
			}
			if w.decision.Multipath && !w.view.NoMultipath && !w.resolves() && t == wire.SockStream {
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

// reuse answers with one of the offered sockets: its stored context is copied,
// but for the context id, which is the connection's.
func (w *work) reuse(m *wire.Message) {
	for i := range m.Sockets {
		if m.Sockets[i].FD == w.decision.Socket.FD {
			m.Context, m.Sockets[i].Context = m.Sockets[i].Context, wire.Context{}
			m.Sockets[0], m.Sockets[i] = m.Sockets[i], m.Sockets[0]
			break
		}
	}
	m.Sockets = m.Sockets[:1]
}
