package mam

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Question is a hypothetical request, which Explain answers. The zero value asks for a
// stream connection without a destination, in either address family.
type Question struct {
	Kind    policy.Kind // Resolve requests are not explained
	Network policy.Network
	Host    string         // name or address; unused with Connect
	Service string         // number or name
	Remote  netip.AddrPort // Connect only
	Bound   netip.Addr     // address that the application bound the socket to; invalid: none
	Intents intent.Set
	App     policy.App // the application that would ask
	// Selection says which networks the application itself permits and prefers.
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

// Explanation is the answer of Explain to a Question.
type Explanation struct {
	// Record is the decision in the form in which the Ring would remember it, without
	// number and ID.
	Record Record
	// Candidates are the prefixes that the policy was offered.
	Candidates []*policy.Prefix
	// Device is the interface that the socket would be bound to, or "" if binding the
	// source address is enough.
	Device string
	// Resolver is the resolver that would look up the name, nil if there is none.
	// ResolverOf is the prefix that Resolver belongs to, nil if Resolver is the default
	// one.
	Resolver   Resolver
	ResolverOf *policy.Prefix
	// ResolverDomain is set if Resolver was chosen for the name's domain, whatever
	// network the connection takes. It is "" if the network decides about the resolver.
	ResolverDomain string
}

// Errors that Explain returns.
var (
	// ErrNoPolicy means that no policy is configured, or that the View cannot make a
	// second instance of it.
	ErrNoPolicy = errors.New("no policy to ask")
	// ErrBusy means that the policy is still deciding an earlier question.
	ErrBusy = errors.New("another question is being answered")
)

// Explain tells how a request would be decided now. It has no side effects: a fresh
// instance of the policy is asked, nothing is remembered or logged, no name is resolved
// and no packet is sent. Two differences from a real request follow. A policy that
// counts decides as if it had just been started. And candidates are not narrowed by the
// address that a name resolves to. While the policy in charge is out of service,
// Explain gives the default decision, which clients get then.
//
// One question is answered at a time; Explain returns ErrBusy to others meanwhile, and
// for good if a policy never returns. Any other error says what is wrong with the
// question, or why no instance of the policy could be made.
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
	return askFresh(rq, func() { m.explaining.Store(false) })
}

// askFresh asks a new instance of the policy, and calls over when the instance has
// answered. After callLimit askFresh gives up, as for a client's call. The abandoned
// goroutine then owns rq.
func askFresh(rq *request, over func()) (Explanation, error) {
	type explained struct {
		e   Explanation
		err error
	}
	done := make(chan explained, 1)
	name := rq.view.Runner.Name
	go func() {
		var a explained
		func() {
			defer over()
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

// ask makes an instance of the policy and lets it decide, as Manager.choose does with
// the policy in charge. An error means that no instance could be made.
func (rq *request) ask() error {
	name := rq.view.Runner.Name
	// contain is a method of Runner. This Runner serves one call, so that the live
	// one's counters do not change.
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
