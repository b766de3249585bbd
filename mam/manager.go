package mam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Defaults of Options.
const (
	// DefaultResolveTimeout bounds a request's name resolution as a whole. The
	// original's clients wait without limit; three tries of a second each at
	// several servers fit in.
	DefaultResolveTimeout = 10 * time.Second
	// DefaultKeep is how many decisions are remembered.
	DefaultKeep = 1024
	// watchInterval is how often the running policy call is looked at.
	watchInterval = callLimit / 4
)

// Options are a Manager's settings. The zero value is useful.
type Options struct {
	ResolveTimeout time.Duration // 0: DefaultResolveTimeout
	Keep           int           // decisions to remember; 0: DefaultKeep
	Logger         *slog.Logger  // nil: nothing is logged
	// Trace has every request and answer of the request sockets logged, decoded,
	// at debug level. They name what clients connect to.
	Trace bool
	// OnDecision is called for every decision, on the request path: it must
	// return at once and keep no pointer to the record. May be nil.
	OnDecision func(*Record)
	// OnChoice is called with every request that a policy was asked about and its
	// answer, be it of use or not, in the policy's turn and so in the order of its
	// calls: it must return at once and keep no pointer but to prefixes. May be nil.
	OnChoice func(policyName string, r *policy.Request, d policy.Decision)
	// OnReport is called with the decision that a client reported an outcome
	// of. May be nil.
	OnReport func(Record)
	// OnReconfigure is called after the policy took a configuration string. May
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
	logs policyLog

	explaining atomic.Bool // a question is with a fresh policy

	closing sync.WaitGroup // policies that were replaced
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
	m.view.Store(&View{})
	return m
}

// View returns the state that the next decision will be made on.
func (m *Manager) View() *View { return m.view.Load() }

// Decisions gives access to the latest decisions.
func (m *Manager) Decisions() *Ring { return m.ring }

// Publish makes v the state for decisions from now on. If it brings another
// policy, the old one is closed as soon as its running call has finished, which
// Publish does not wait for.
func (m *Manager) Publish(v *View) {
	v.prepare()
	old := m.view.Swap(v)
	if old.Runner != nil && old.Runner != v.Runner {
		m.closing.Go(func() { m.closePolicy(old.Runner) })
	}
}

func (m *Manager) closePolicy(r *Runner) {
	if err := r.Close(); err != nil {
		m.log.Warn("closing a policy", "policy", r.Name, "err", err)
	}
}

// Run looks after the policy and writes its log, until ctx ends; then it closes
// the policy. The error is always nil.
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
			if r := m.view.Load().Runner; r != nil {
				r.check(callLimit)
			}
		case <-ctx.Done():
			if r := m.view.Load().Runner; r != nil {
				m.closePolicy(r)
			}
			m.closing.Wait()
			<-done
			return nil
		}
	}
}

// errNoReconfigure is an errors.ErrUnsupported that says why.
type errNoReconfigure string

func (e errNoReconfigure) Error() string        { return string(e) }
func (e errNoReconfigure) Is(target error) bool { return target == errors.ErrUnsupported }

// Reconfigure hands a run-time configuration string to the policy
// (doc/original/daemon.md section 7). A policy that takes none gives an error that
// wraps errors.ErrUnsupported.
func (m *Manager) Reconfigure(text string) error {
	v := m.view.Load()
	if v.Runner == nil {
		return errNoReconfigure("no policy is loaded")
	}
	done := make(chan error, 2) // of the call, or of its abandonment
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
	if err == nil && m.opts.OnReconfigure != nil {
		m.opts.OnReconfigure()
	}
	return err
}

// choose asks the policy about w.req and leaves its decision in w, or the
// default one with the reason. takeover goes on in the caller's place if the
// policy is stuck; mine is false if that happened.
func (m *Manager) choose(w *work, takeover func()) (mine bool) {
	for {
		r := w.view.Runner
		if r == nil {
			w.decision = policy.Decision{Reason: "no policy"}
			return true
		}
		var d policy.Decision
		var line string
		var logFile string
		mine, err := r.call(takeover, func(p policy.Policy) {
			if w.req.Kind == policy.Resolve {
				if rc, ok := p.(policy.ResolveChooser); ok {
					d = rc.ChooseResolver(&w.req)
					m.chosen(r, w, d)
				}
				return
			}
			d = p.Choose(&w.req)
			m.chosen(r, w, d)
			if ll, ok := p.(policy.LineLogger); ok {
				if logFile = ll.LogFile(); logFile != "" {
					line = ll.LogLine(&w.req, d)
				}
			}
		})
		if !mine {
			return false
		}
		w.took = time.Since(w.req.Now)
		if errors.Is(err, errReplaced) {
			if v := m.view.Load(); v.Runner != r {
				w.view = v // the candidates were current a moment ago; the new policy may use them
				continue
			}
		}
		if err == nil {
			err = w.check(&d)
		}
		if err != nil {
			w.useDefault(err.Error())
			return true
		}
		w.decision = d
		if line != "" {
			m.logs.write(logFile, line, w.req.Now)
		}
		return true
	}
}

func (m *Manager) chosen(r *Runner, w *work, d policy.Decision) {
	if m.opts.OnChoice != nil {
		m.opts.OnChoice(r.Name, &w.req, d)
	}
}

// check finds nonsense in a decision: a prefix or a socket that was not offered.
// Such alternates are dropped.
func (w *work) check(d *policy.Decision) error {
	if d.Prefix != nil && d.Prefix != w.req.BoundPrefix && !w.offered(d.Prefix) {
		return fmt.Errorf("policy %s chose %v, which was not offered", w.view.Runner.Name, d.Prefix.ID)
	}
	if d.Socket != nil {
		found := false
		for i := range w.req.Sockets {
			found = found || d.Socket == &w.req.Sockets[i]
		}
		if !found {
			return fmt.Errorf("policy %s chose a socket that was not offered", w.view.Runner.Name)
		}
	}
	for _, p := range d.Alternates {
		if !w.offered(p) || p == d.Prefix {
			return w.checkAlternates(d)
		}
	}
	return nil
}

func (w *work) checkAlternates(d *policy.Decision) error {
	kept := make([]*policy.Prefix, 0, len(d.Alternates))
	for _, p := range d.Alternates {
		if p != d.Prefix && w.offered(p) {
			kept = append(kept, p)
		}
	}
	d.Alternates = kept
	return nil
}

func (w *work) offered(p *policy.Prefix) bool {
	for _, q := range w.req.Prefixes {
		if p == q {
			return true
		}
	}
	return false
}

// useDefault decides without the policy.
func (w *work) useDefault(why string) {
	w.decision = policy.Decision{Prefix: w.req.DefaultPrefix(), Reason: "default"}
	w.fallback = why
}

// remember puts the decision into the ring and returns it as remembered.
func (m *Manager) remember(w *work) Record {
	rec := w.record()
	m.ring.add(&rec)
	if m.opts.OnDecision != nil {
		m.opts.OnDecision(&rec)
	}
	return rec
}

// record is the decision as it is remembered, without a number.
func (w *work) record() Record {
	rec := Record{
		Time: w.req.Now, Took: w.took, Kind: w.req.Kind, App: w.req.App, Network: w.req.Network,
		Host: w.req.Host, Service: w.req.Service, Remote: w.req.Remote, Bound: w.req.Bound, Intents: w.req.Intents,
		Decision: w.decision, Fallback: w.fallback, Origin: w.origin, Inode: w.inode,
	}
	if w.view.Runner != nil {
		rec.Policy = w.view.Runner.Name
	}
	if s := w.decision.Socket; s != nil {
		rec.Reused, rec.FD, rec.Decision.Socket = true, s.FD, nil
	}
	return rec
}

// literal parses an address in place of a name. One with a zone is none, as for
// the original: only the client knows its interfaces by that name.
func literal(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	return a, err == nil && a.Zone() == ""
}

// resolve looks up the request's name on the prefix that the decision names. A
// name that this prefix's resolver does not know is asked once more at the
// default one, which may know names of the local network only.
func (m *Manager) resolve(ctx context.Context, w *work, p *policy.Prefix, f policy.Family) error {
	if a, ok := literal(w.req.Host); ok {
		if f != policy.IPv6 {
			a = a.Unmap()
		}
		if f != policy.Unspecified && policy.FamilyOf(a) != f {
			return fmt.Errorf("resolve %s: not an %v address: %w", w.req.Host, f, ErrNotFound)
		}
		w.answer = Answer{Addrs: []netip.Addr{a}}
		return nil
	}
	if strings.Contains(w.req.Host, "%") {
		return fmt.Errorf("resolve %s: address with a zone: %w", w.req.Host, ErrNotFound)
	}
	first, own := w.view.resolverOf(p)
	if w.decision.Resolution == policy.ResolveDefault {
		first, own = w.view.Resolver, false
	}
	if first == nil {
		return fmt.Errorf("resolve %s: no resolver", w.req.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.ResolveTimeout)
	defer cancel()
	var err error
	w.answer, err = first.Lookup(ctx, w.req.Host, f)
	if errors.Is(err, ErrNotFound) && own && w.view.Resolver != nil && !exists(ctx, first, w.req.Host, f) {
		w.answer, err = w.view.Resolver.Lookup(ctx, w.req.Host, f)
	}
	if err == nil && len(w.answer.Addrs) == 0 {
		err = fmt.Errorf("resolve %s: empty answer: %w", w.req.Host, ErrNotFound)
	}
	return err
}

// exists tells whether a resolver that has no address of family f for host has
// one of the other. Then it knows the name, and nobody else has to be asked.
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
