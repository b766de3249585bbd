package mam

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/policy"
)

// Defaults of Options.
const (
	// DefaultResolveTimeout bounds the whole name resolution of a request. Three tries
	// of a second each at several servers fit into ten seconds. A bound is needed
	// because clients of the Socket Intents prototype wait without one.
	DefaultResolveTimeout = 10 * time.Second
	// DefaultKeep is how many decisions are remembered.
	DefaultKeep = 1024
	// watchInterval is the time between two looks at the running policy call.
	watchInterval = callLimit / 4
)

// Options are a Manager's settings. The zero value is useful.
type Options struct {
	ResolveTimeout time.Duration // 0: DefaultResolveTimeout
	Keep           int           // decisions to remember; 0: DefaultKeep
	Logger         *slog.Logger  // nil: nothing is logged
	// Trace logs every decoded request and answer of the request sockets, at debug
	// level. Messages name the destinations of clients, so the log is private.
	Trace bool
	// OnDecision is called for every decision that is remembered: those that clients are
	// told, and those that Remember is given. The call is on the request path, so it must
	// return at once. It must not keep the pointer to the record. May be nil.
	OnDecision func(*Record)
	// OnCall is called after every call in which the policy in charge has decided about a
	// request, with the question and the decision, even if the decision turns out to be
	// unusable. A call that panics has decided nothing. One request may need several
	// calls. The next call of the policy waits until OnCall returns, so OnCall sees them
	// in order. It must return at once, and may keep pointers to prefixes only. May be
	// nil.
	OnCall func(policyName string, r *policy.Request, d policy.Decision)
	// OnTransfer is called when a client has reported how a transfer went, or when that was
	// measured, before the policy is told. policyName is that of the policy that decided
	// about it. Its Token is 0 if that policy is no longer in use. OnTransfer may be called
	// by several goroutines at once. It must return at once, and may keep the pointer to the
	// prefix only. May be nil.
	OnTransfer func(policyName string, t *policy.Transfer)
	// OnReport is called when a client has reported the outcome of a decision. May be
	// nil.
	OnReport func(Record)
	// OnFlow is called when a client reports how datagrams of its own fare. It must return
	// at once. May be nil.
	OnFlow func(*FlowReport)
	// OnLeased is called when a client reports connections that it made by the lease of
	// a decision. It must return at once and must not keep the pointer to the record.
	// May be nil.
	OnLeased func(rec *Record, uses uint32)
	// Generations is the page that tells clients when leases end. From New on only the
	// Manager writes to it; the caller closes it. No leases are granted if it is nil or
	// if OnCall is set, since OnCall would miss the connections made by leases.
	Generations *generation.Own
	// OnReconfigure is called after the policy has accepted a configuration string. May
	// be nil.
	OnReconfigure func()
}

// Manager decides and answers. Publish gives it its first View, before any
// request is served. It is safe for concurrent use.
type Manager struct {
	log  *slog.Logger
	opts Options
	view atomic.Pointer[View]
	ring *Ring
	// records holds *Record that remember uses again: each is as large as all else that a
	// decision allocates.
	records sync.Pool
	logs    policyLog

	plain    plainDials
	leases   leases
	services services

	explaining atomic.Bool // a fresh policy is answering a question of Explain
	changes    stateChanges

	closing sync.WaitGroup // replaced policies whose Close is running
}

// New makes a Manager.
func New(opts Options) *Manager {
	if opts.ResolveTimeout <= 0 {
		opts.ResolveTimeout = DefaultResolveTimeout
	}
	if opts.Keep <= 0 {
		opts.Keep = DefaultKeep
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{log: opts.Logger, opts: opts, ring: NewRing(opts.Keep), logs: newPolicyLog(opts.Logger)}
	m.leases.page = opts.Generations
	m.changes.seed, m.changes.ranking = maphash.MakeSeed(), make(chan struct{}, 1)
	m.view.Store(&View{})
	return m
}

// View returns the state that the next decision will be made on.
func (m *Manager) View() *View { return m.view.Load() }

// Decisions gives access to the latest decisions.
func (m *Manager) Decisions() *Ring { return m.ring }

// Publish makes v the state for all further decisions. If v has another policy, the old
// policy is closed after its running call. Publish does not wait for that.
func (m *Manager) Publish(v *View) {
	v.prepare()
	m.leases.publishing.Lock()
	ended := m.leases.prepare(m.view.Load(), v)
	old := m.view.Swap(v)
	m.leases.tell(ended)
	m.changes.published(v)
	m.leases.publishing.Unlock()
	if old.Runner != nil && old.Runner != v.Runner {
		m.closing.Go(func() { m.closePolicy(old.Runner) })
	}
}

func (m *Manager) closePolicy(r *Runner) {
	if err := r.Close(); err != nil {
		m.log.Warn("closing a policy", "policy", r.Name, "err", err)
	}
}

// Run watches the policy's calls and writes the policy's log until ctx ends, then
// closes the policy. The error is always nil.
func (m *Manager) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.logs.run(ctx)
	}()
	t := time.NewTicker(watchInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if r := m.view.Load().Runner; r != nil && r.check(callLimit) {
				m.VoidLeases()
			}
		case <-ctx.Done():
			m.VoidLeases() // after Run ends nobody would end them
			if r := m.view.Load().Runner; r != nil {
				m.closePolicy(r)
			}
			m.closing.Wait()
			<-done
			return nil
		}
	}
}

// errNoReconfigure says why the policy cannot be reconfigured. It is an
// errors.ErrUnsupported.
type errNoReconfigure string

func (e errNoReconfigure) Error() string        { return string(e) }
func (e errNoReconfigure) Is(target error) bool { return target == errors.ErrUnsupported }

// Reconfigure passes a run-time configuration string to the policy
// (doc/original/daemon.md section 7). The error wraps errors.ErrUnsupported if the
// policy takes no such strings.
func (m *Manager) Reconfigure(text string) error {
	v := m.view.Load()
	if v.Runner == nil {
		return errNoReconfigure("no policy is loaded")
	}
	done := make(chan error, 2) // the call and its abandonment may both send
	go func() {
		var err error
		mine, callErr := v.Runner.call(func() { done <- v.Runner.Err() }, func(p policy.Policy) {
			rc, ok := p.(policy.Reconfigurer)
			if !ok {
				err = errNoReconfigure(fmt.Sprintf("policy %s takes no configuration at run time", v.Runner.Name))
				return
			}
			err = rc.Reconfigure(text, v.Prefixes)
		})
		if mine {
			done <- errors.Join(err, callErr)
		}
	}()
	err := <-done
	m.VoidLeases()
	if err == nil && m.opts.OnReconfigure != nil {
		m.opts.OnReconfigure()
	}
	return err
}

// remember puts the decision into the ring and writes the policy's log line. It returns
// the decision's ID.
func (m *Manager) remember(rq *request) uuid.UUID {
	if rq.line != "" {
		m.logs.write(rq.logFile, rq.line, rq.asked.Now)
	}
	rec, ok := m.records.Get().(*Record)
	if !ok {
		rec = new(Record)
	}
	defer m.records.Put(rec)
	*rec = rq.record()
	m.ring.add(rec)
	if m.opts.OnDecision != nil {
		m.opts.OnDecision(rec)
	}
	return rec.ID
}

// record returns the decision in the form that the ring remembers, without a number.
func (rq *request) record() Record {
	rec := Record{
		Time: rq.asked.Now, Took: rq.took, Kind: rq.asked.Kind, App: rq.asked.App, Network: rq.asked.Network,
		Host: rq.asked.Host, Service: rq.asked.Service, Remote: rq.asked.Remote, Bound: rq.asked.Bound, Intents: rq.asked.Intents,
		Selection: rq.selection.String(), Selected: rq.selected,
		Decision: rq.decision, Refused: rq.refused, Fallback: rq.fallback, Origin: rq.origin, Inode: rq.inode, Reports: rq.reports, Transfers: rq.transfers,
	}
	if rq.view.Runner != nil {
		rec.Policy, rec.Decider = rq.view.Runner.Name, rq.view.Runner.self
	}
	if p := rq.asked.BoundPrefix; p != nil {
		rec.BoundPrefix = p.ID
	}
	if s := rq.decision.Socket; s != nil {
		rec.Reused, rec.FD, rec.Decision.Socket = true, s.FD, nil
	}
	return rec
}
