package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// Decision is the manager's answer about a connection, before anything is dialled. It
// is for programs that keep connections of their own or make their sockets themselves.
// It is safe for concurrent use.
//
// A Decision describes one moment. Networks change, so a Decision should not be used
// any more after a few tenths of a second.
type Decision struct {
	dialer   *Dialer
	target   target
	plan     *plan // nil if the manager did not decide; err says why
	err      error
	existing net.Conn
}

// Decide asks the manager about a connection to address. It takes the same addresses as
// DialContext. The idle connections must lead to this address. The manager may choose
// one of them for reuse, if this package made it.
//
// If the manager does not run, or does not decide about such a dial, Decide returns no
// error, and the Decision's method Err tells why. Decide returns an error if the policy
// refuses the connection (errors.Is finds ErrRefused), or if the manager knows no
// network that the SelectionProperties permit (ErrNotPermitted).
func (d *Dialer) Decide(ctx context.Context, network, address string, idle ...net.Conn) (*Decision, error) {
	t, ok, err := d.newTarget(ctx, network, address)
	dec := &Decision{dialer: d, target: t}
	if err != nil {
		return nil, err
	}
	if !ok {
		dec.err = errNotDecided
		return dec, nil
	}
	var members []wire.SetMember
	for i, conn := range idle {
		if info, ok := InfoOf(conn); ok && t.permitsConn(&info) {
			members = append(members, wire.SetMember{FD: int32(i + 1), Context: t.offered(&info)}) // to the original's daemon, 0 is not a socket
		}
	}
	p, err := d.daemon().decide(ctx, t, len(members) > 0, members)
	if err == nil && p.reuse {
		if i := int(p.existing) - 1; i >= 0 && i < len(idle) && slices.ContainsFunc(members, func(m wire.SetMember) bool { return m.FD == p.existing }) {
			dec.existing = idle[i]
		} else {
			err = fmt.Errorf("the manager named socket %d, which was not offered", p.existing)
		}
	}
	if forbidden(err) {
		return nil, &DialError{Network: network, Address: address, Err: err}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d.without(err)
		dec.err = err
		return dec, nil
	}
	dec.plan = p
	return dec, nil
}

// offered returns the context that describes an idle connection to the manager.
func (t *target) offered(info *Info) wire.Context {
	c := t.context()
	c.Remote = sockAddr(info.Remote)
	c.BindSuggested = sockAddr(netip.AddrPortFrom(info.Local.Addr(), 0)) // the policy knows the network by this address
	c.Domain, c.Protocol = wire.AFInet6, wire.ProtoTCP
	if info.Remote.Addr().Is4() {
		c.Domain = wire.AFInet
	}
	switch {
	case t.typ == wire.SockDgram:
		c.Protocol = wire.ProtoUDP
	case info.Multipath:
		c.Protocol = wire.ProtoMPTCP
	}
	m := wire.Message{Context: c}
	m.SetIntents(t.intents)
	return m.Context
}

// Err tells why the manager did not decide, nil if it did.
func (dec *Decision) Err() error { return dec.err }

// Existing is the idle connection that the manager wants to be used again. It is nil if
// a new connection should be made.
func (dec *Decision) Existing() net.Conn { return dec.existing }

// first returns the manager's first choice. If there is none, first returns a candidate
// without a suggestion.
func (dec *Decision) first() *candidate {
	if dec.plan == nil || len(dec.plan.candidates) == 0 {
		return &candidate{index: plain}
	}
	return dec.plan.candidates[0]
}

// Candidate says which of the manager's suggestions a new connection tries first. That
// is the first choice, unless the SelectionProperties prefer another.
func (dec *Decision) Candidate() Candidate { return dec.first().index }

// Source is the suggested source address of a new connection, invalid if there
// is none.
func (dec *Decision) Source() netip.Addr { return dec.first().local }

// Device is the interface that a new connection is to be bound to, "" if none.
func (dec *Decision) Device() string { return dec.first().device }

// Multipath tells whether a new connection is to be opened with MPTCP.
func (dec *Decision) Multipath() bool {
	return dec.first().multipath && !dec.target.selection.Strict() && !dec.Only()
}

// Only tells whether the policy permits only its own suggestions. A plain connection is
// then forbidden, as is one that is not bound to Device.
func (dec *Decision) Only() bool { return dec.plan != nil && dec.plan.target.only }

// Reason says why the manager decided so, in the manager's words. It may be empty.
func (dec *Decision) Reason() string {
	if dec.plan == nil {
		return ""
	}
	return dec.plan.reason
}

// Dial makes a new connection as DialContext does, but without a new question to the
// manager. The exception is a decision to reuse a connection: it says nothing about new
// ones, so Dial asks once more.
func (dec *Decision) Dial(ctx context.Context) (net.Conn, error) {
	begun := time.Now()
	d := dec.dialer
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	p, err := dec.plan, dec.err
	if p != nil && p.reuse {
		p, err = d.daemon().decide(ctx, p.target, false, nil)
	}
	if err != nil {
		if err == errNotDecided {
			err = nil
		}
		return d.dialPlainly(ctx, &dec.target, begun, err)
	}
	again := *p
	again.candidates = slices.Clip(p.candidates) // so that concurrent dials do not append to the same array
	return d.dialPlan(ctx, &again, begun)
}

// Endpoints resolves the name on the chosen network, for a program that makes its
// sockets itself. The endpoints come in three groups: first those of the best network,
// then those of the alternates whose addresses are known, last the addresses without a
// suggestion. If the resolver of the chosen network is slow or fails, the resolvers of
// the other networks are asked as in a dial. The network whose resolver answers then
// becomes the best.
func (dec *Decision) Endpoints(ctx context.Context) ([]Endpoint, error) {
	ctx, cancel := dec.dialer.limit(ctx, time.Now())
	defer cancel()
	p, err := dec.plan, dec.err
	if p != nil && p.reuse {
		p, err = dec.dialer.daemon().decide(ctx, p.target, false, nil)
	}
	if forbidden(err) {
		return nil, &DialError{Network: dec.target.network, Address: dec.target.address, Err: err}
	}
	if err != nil {
		if !dec.target.plainly() {
			return nil, dec.target.permits(site{})
		}
		t, ok, err := dec.dialer.newTarget(ctx, dec.target.network, dec.target.address)
		if err != nil {
			return nil, err
		}
		if !ok && t.host == "" {
			return nil, fmt.Errorf("lookup %s over %s: only a host and port over tcp or udp can be placed", dec.target.address, dec.target.network)
		}
		t.selection = dec.target.selection
		p = &plan{target: t, id: uuid.Nil}
	}
	best, err := dec.dialer.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	t := &p.target
	list := t.endpoints(best, nil)
	for _, c := range p.candidates {
		if c.index != best.index {
			list = t.endpoints(c, list)
		}
	}
	if best.index != plain && t.plainly() {
		list = t.endpoints(&candidate{index: plain, addrs: remotes(list)}, list)
	}
	if len(list) == 0 {
		return nil, t.permits(site{})
	}
	return list, nil
}

// found stands in for a connection, in a race that only looks for addresses.
type found struct{ net.Conn }

func (found) Close() error { return nil }

// resolve looks up the name on the networks of the candidates, and returns the candidate
// whose lookup succeeds first.
func (d *Dialer) resolve(ctx context.Context, p *plan) (*candidate, error) {
	if len(p.candidates) > 0 && len(p.candidates[0].addrs) > 0 {
		return p.candidates[0], ctx.Err() // without a lookup, the best one always wins
	}
	r := d.driver(p, func(context.Context, *candidate, netip.AddrPort) (net.Conn, error) { return found{}, nil })
	candidates := slices.Clip(p.candidates)
	if p.target.plainly() {
		candidates = append(candidates, &candidate{index: plain})
	}
	o := r.run(ctx, candidates)
	switch {
	case o.conn != nil:
		return o.winner, nil
	case errors.Is(o.err, errNothing) && len(p.refused) > 0:
		return nil, p.refused[0].Err
	case o.err != nil:
		return nil, o.err
	}
	return nil, o.failed[len(o.failed)-1].Err
}

// endpoints appends the addresses of c that are known and permitted.
func (t *target) endpoints(c *candidate, list []Endpoint) []Endpoint {
	for _, remote := range c.addrs {
		if !t.strict() {
			list = append(list, endpoint(c, remote, c.options))
			continue
		}
		if at := t.siteOf(c, remote.Addr()); t.permits(at) == nil {
			e := endpoint(c, remote, c.held(at.device, remote.Addr()))
			e.Multipath = false
			list = append(list, e)
		}
	}
	return list
}

func endpoint(c *candidate, remote netip.AddrPort, options []wire.SockOpt) Endpoint {
	e := Endpoint{Candidate: c.index, Source: c.local, Multipath: c.multipath, Remote: remote}
	for _, o := range options {
		e.Options = append(e.Options, SocketOption{
			Level: int(o.Level), Name: int(o.Name), Value: slices.Clone(o.Value), Optional: o.Flags&wire.SockOptOptional != 0,
		})
	}
	return e
}

// remotes lists the remote addresses in list.
func remotes(list []Endpoint) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, e := range list {
		if !slices.Contains(addrs, e.Remote) {
			addrs = append(addrs, e.Remote)
		}
	}
	return addrs
}
