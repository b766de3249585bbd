package mam

import (
	"errors"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Advice is what was decided on a connection that no client has asked about.
type Advice struct {
	// Record is the decision as Remember takes it.
	Record Record
	// Source is the address to bind the socket to; invalid: none. Device is the interface
	// to bind it to besides; "" if the source address is enough.
	Source netip.Addr
	Device string
	// Interface is that of the chosen prefix; "" if there is none.
	Interface string
	// Alternates are the same for Record.Decision.Alternates, in their order.
	Alternates []Binding
}

// Binding says how a socket is bound to a prefix. The fields are as in Advice.
type Binding struct {
	Source            netip.Addr
	Device, Interface string
}

// Ask decides on a connection for the daemon itself, which places connections of programs
// that know nothing of the daemon. The policy in charge is asked, as for a client's request,
// and other requests wait for their turn meanwhile. If the policy is stuck or out of service, the
// decision is the default one. The zero App stands for a user that is not known.
//
// The decision is not remembered, because it may be used never, or for many connections. See
// Remember.
func (m *Manager) Ask(q Question, now time.Time) (Advice, error) {
	if q.Kind == policy.Resolve {
		return Advice{}, errors.New("ask: nothing is resolved for the daemon itself")
	}
	rq := &request{}
	rq.fill(q.message(), q.Kind, q.App, m.View(), now)
	if rq.view.Runner == nil && rq.selection == nil {
		rq.decision = policy.Decision{Reason: "no policy"}
		return rq.advice(), nil
	}
	done := make(chan *request, 2) // of the call, or of its abandonment
	go func() {
		if m.choose(rq, func() { done <- rq.withoutPolicy() }) {
			done <- rq
		}
	}()
	return (<-done).advice(), nil
}

// withoutPolicy is a copy of a request whose policy is stuck, with the default decision.
// The stuck call goes on to use the request's own memory.
func (rq *request) withoutPolicy() *request {
	c := &request{}
	*c = *rq
	c.sockets, c.list, c.dests, c.conns = nil, nil, nil, nil
	c.asked.Sockets, c.asked.DestStats, c.asked.Connections = nil, nil, nil
	c.useDefault(errorText(c.view.Runner.Err()))
	return c
}

func (rq *request) advice() Advice {
	a := Advice{Record: rq.record()}
	if p := rq.decision.Prefix; p != nil && !rq.refused && !rq.asked.Bound.IsValid() {
		b := rq.binding(p)
		a.Source, a.Device, a.Interface = b.Source, b.Device, b.Interface
		for _, p := range rq.decision.Alternates {
			a.Alternates = append(a.Alternates, rq.binding(p))
		}
	}
	return a
}

func (rq *request) binding(p *policy.Prefix) Binding {
	return Binding{rq.local(p).AddrPort.Addr().Unmap(), rq.device(p), p.Interface}
}

// Remember keeps a decision that Ask has returned and that a connection was placed by, for
// people, as if a client had been told of it. The record's Time, App, Remote and Origin are
// those of the connection. It returns the record with its number and ID.
func (m *Manager) Remember(rec Record) Record {
	rec.Reports, rec.Transfers, rec.Inode = false, false, 0
	m.ring.add(&rec)
	if m.opts.OnDecision != nil {
		m.opts.OnDecision(&rec)
	}
	return rec
}
