package mam

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Question is a hypothetical request, for Explain. Its zero value asks for a
// stream connection, of either family, to nowhere in particular.
type Question struct {
	Kind    policy.Kind // Resolve requests are not explained
	Network policy.Network
	Host    string         // name or address; unused with Connect
	Service string         // number or name
	Remote  netip.AddrPort // Connect only
	Bound   netip.Addr     // address that the application bound; invalid: none
	Intents intent.Set
	App     policy.App // who would ask
	// Selection is which networks the application itself permits and prefers.
	Selection []wire.Preference
}

// message is the request that a client would send.
func (q *Question) message() *wire.Message {
	c := wire.Context{Domain: domain(q.Network.Family), Type: wire.SockStream, Hostname: q.Host, Service: q.Service}
	if q.Network.Transport == policy.Datagram {
		c.Type = wire.SockDgram
	}
	if q.Bound.IsValid() {
		c.BindRequested = wire.SockAddr{AddrPort: netip.AddrPortFrom(q.Bound, 0)}
	}
	if q.Kind == policy.Connect && q.Remote.IsValid() {
		c.Hostname, c.Service = "", ""
		c.Remote = wire.SockAddr{AddrPort: q.Remote}
	}
	m := &wire.Message{HasAction: true, Context: c, Features: wire.FeatureSelection, Selection: q.Selection}
	m.SetIntents(q.Intents)
	return m
}

// Explanation is what Explain finds out about a Question.
type Explanation struct {
	// Record is the decision as it would be remembered, without number and ID.
	Record Record
	// Candidates are the prefixes that the policy was offered.
	Candidates []*policy.Prefix
	// Device is the interface that the socket would be bound to; "" if the
	// source address is enough.
	Device string
	// Resolver would be asked for the name, nil if none; ResolverOf is the
	// prefix whose own it is, nil for the default one.
	Resolver   Resolver
	ResolverOf *policy.Prefix
	// ResolverDomain is the domain that makes Resolver the one to ask, whatever network the
	// connection takes; "" if it is the network that does.
	ResolverDomain string
}

// Errors of Explain.
var (
	// ErrNoPolicy means that there is no policy to ask, or that the View gives no
	// way to make another instance of it.
	ErrNoPolicy = errors.New("no policy to ask")
	// ErrBusy means that the policy has not decided on an earlier question yet.
	ErrBusy = errors.New("another question is being answered")
)

// Explain tells how a request would be decided now, without side effects: the
// request is made as for a client's, but a fresh instance of the policy is
// asked, nothing is remembered or logged, no name is resolved and no packet
// sent. A policy that counts therefore decides as if it had just been started, and
// candidates are not narrowed by the address that a name would have. While the
// policy in charge is out of service, the decision is the default one, as it is for
// clients.
//
// One question is answered at a time: ErrBusy is returned meanwhile, and for
// good if a policy never returns. Other errors tell what is wrong with the
// question or with making the policy.
func (m *Manager) Explain(q Question, now time.Time) (Explanation, error) {
	if q.Kind == policy.Resolve {
		return Explanation{}, errors.New("explain: requests that only resolve a name are not explained")
	}
	v := m.View()
	if v.Runner == nil {
		return Explanation{}, fmt.Errorf("explain: %w", ErrNoPolicy)
	}
	rq := &request{}
	rq.fill(q.message(), q.Kind, q.App, v, now)
	if err := v.Runner.Err(); err != nil && !errors.Is(err, errReplaced) {
		rq.useDefault(err.Error())
		return rq.explanation(), nil
	}
	if v.Fresh == nil {
		return Explanation{}, fmt.Errorf("explain: policy %s: %w", v.Runner.Name, ErrNoPolicy)
	}
	if !m.explaining.CompareAndSwap(false, true) {
		return Explanation{}, fmt.Errorf("explain: %w", ErrBusy)
	}
	return askFresh(rq, &m.explaining)
}

// askFresh asks a new instance of the policy and clears busy when that has
// returned. The call is abandoned after callLimit, as a client's call is; from
// then on rq belongs to it.
func askFresh(rq *request, busy *atomic.Bool) (Explanation, error) {
	type explained struct {
		e   Explanation
		err error
	}
	done := make(chan explained, 1)
	name := rq.view.Runner.Name
	go func() {
		var a explained
		func() {
			defer busy.Store(false)
			a.err = rq.ask()
			a.e = rq.explanation()
		}()
		done <- a
	}()
	t := time.NewTimer(callLimit)
	defer t.Stop()
	select {
	case a := <-done:
		return a.e, a.err
	case <-t.C:
		return Explanation{}, fmt.Errorf("explain: policy %s has not answered within %v", name, callLimit)
	}
}

// ask makes an instance of the policy and has it decide, as Manager.choose has
// the one in charge. The error is about making it.
func (rq *request) ask() error {
	name := rq.view.Runner.Name
	// contain needs a Runner; this one has no part in the live one's counters.
	r := NewRunner(name, nil, slog.New(slog.DiscardHandler))
	var fresh policy.Policy
	var newErr error
	if err := r.contain(func(policy.Policy) { fresh, newErr = rq.view.Fresh() }); err != nil {
		return fmt.Errorf("explain: make policy %s: %w", name, err)
	}
	if newErr != nil {
		return fmt.Errorf("explain: make policy %s: %w", name, newErr)
	}
	if c, ok := fresh.(interface{ Close() error }); ok {
		defer func() { _ = r.contain(func(policy.Policy) { _ = c.Close() }) }()
	}
	var d policy.Decision
	begin := time.Now()
	err := r.contain(func(policy.Policy) { d = fresh.Choose(&rq.asked) })
	rq.took = time.Since(begin)
	if err == nil {
		err = rq.check(&d)
	}
	rq.conclude(d, err)
	return nil
}

func (rq *request) explanation() Explanation {
	e := Explanation{Record: rq.record(), Candidates: rq.asked.Prefixes}
	d := &e.Record.Decision
	if d.Prefix != nil && !rq.asked.Bound.IsValid() {
		e.Device = rq.device(d.Prefix)
	}
	if _, err := netip.ParseAddr(rq.asked.Host); rq.asked.Host == "" || err == nil || d.Resolution == policy.ResolveNever {
		return e
	}
	e.Resolver = rq.view.Resolver
	p := d.Prefix
	if p == nil {
		p = rq.asked.BoundPrefix
	}
	if d.Resolution == policy.ResolveOnPrefix {
		if r, own := rq.view.resolverOf(p); own {
			e.Resolver, e.ResolverOf = r, p
		}
	}
	if router, ok := e.Resolver.(NameRouter); ok {
		if other, domain := router.For(rq.asked.Host); other != nil {
			e.Resolver, e.ResolverOf, e.ResolverDomain = other, nil, domain
		}
	}
	return e
}
