package scopes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/scopes/pins"
	"github.com/socket-intents/mamma/mam"
)

const (
	// hold is how long connections are still placed after the daemon has gone. That is long
	// enough for a service manager to start it again.
	hold = 10 * time.Minute
	// holdEvery is how often a running daemon tells the kernel that it is there.
	holdEvery = time.Minute
	// backlog is how many records can wait here, besides those in the kernel's ring buffer.
	backlog = 4096
)

// Decider decides on connections and remembers decisions. A *mam.Manager is one.
type Decider interface {
	Ask(mam.Question, time.Time) (mam.Advice, error)
	Remember(mam.Record) mam.Record
}

// Options of an Engine.
type Options struct {
	Decider Decider
	// Aside lists the destinations for which the host has routes or rules of their own,
	// apart from default routes. If that cannot be found out, it lists everything.
	Aside func() ([]netip.Prefix, error)
	// Shed gives up the rights that only loading needs, once something is loaded. If the error is
	// nil, nothing can be loaded any more. nil: the rights are kept.
	Shed func(*hook.Table) error
	// Learnt is the file where it is kept what was learnt of connections. "": in memory only.
	Learnt string
	Log    *slog.Logger // nil: nothing is logged
}

// Engine keeps the kernel's maps current. Run does the work. The other methods are safe for
// concurrent use. They return at once, except State and Detach, which wait for Run.
type Engine struct {
	opts Options
	log  *slog.Logger
	load func() (*hook.Table, error) // hook.Load, or what a test has in its place

	poke     chan struct{} // one slot; tells Run that something below has changed
	view     atomic.Pointer[mam.View]
	moved    atomic.Bool // the host's routes may have changed
	lost     atomic.Uint64
	learns   atomic.Bool // some scope learns
	measured measured
	downs    downs

	mu      sync.Mutex
	wanted  *wanted // nil: no change
	detach  []chan error
	asked   []chan State
	ended   []ended
	running bool

	// Only Run uses the fields below.
	scopes     []*scope
	placing    config.Placing
	off        bool // detached on request, until the next configuration
	table      *hook.Table
	shed       bool        // nothing can be loaded any more
	spare      *hook.Table // what was loaded, while it is not used and if shed is set
	attachment *hook.Attachment
	tree       *tree
	stop       chan struct{} // closed for the goroutines of a table
	events     chan hook.Event
	wait       sync.WaitGroup
	classes    map[string]*class
	retired    [2]retired // the second is the older one
	lastID     uint32     // of scopes and classes
	groups     map[uint64]*class
	where      map[string]uint64 // groups by path
	full       map[string]uint64 // groups by path that the kernel has no room for
	nextAgain  time.Time         // when they may be tried again
	answers    answers
	stale      []*own // answers to be asked about again, from those used the longest time ago
	budget     budget
	learning   learning
	inputs     inputs
	aside      map[netip.Prefix]bool
	nextAside  time.Time // when the routes may be read again
	own        string    // the control group of this process, if that tells its connections
	err        error
	single     error // why scopes with MPTCP do not have it; nil: they have, or there are none
}

// wanted is a configuration to be put into use.
type wanted struct {
	scopes  []config.Scope
	placing config.Placing
}

// New makes an Engine.
func New(opts Options) *Engine {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{opts: opts, log: opts.Log, load: hook.Load, poke: make(chan struct{}, 1), learning: newLearning()}
}

func (e *Engine) wake() {
	select {
	case e.poke <- struct{}{}:
	default:
	}
}

// Configure puts the scopes of a configuration into use. The caller must not change them
// afterwards.
func (e *Engine) Configure(scopes []config.Scope, placing config.Placing) {
	e.mu.Lock()
	e.wanted = &wanted{scopes, placing}
	e.mu.Unlock()
	e.wake()
}

// Published tells that decisions are made from v from now on. When it returns, no connection
// is placed on a network that is down in v if its answer has an alternate that is not.
func (e *Engine) Published(v *mam.View) {
	if err := e.downs.published(v); err != nil {
		e.log.Warn("connections of scopes go on over networks that are down, until the policy is asked", "err", err)
	}
	e.view.Store(v)
	e.wake()
}

// RoutesChanged tells that the kernel has reported a change of routes or rules.
func (e *Engine) RoutesChanged() {
	e.moved.Store(true)
	e.wake()
}

// ErrNotRunning means that Run is not running, so that nobody can do what was asked for.
var ErrNotRunning = errors.New("scopes are not at work")

// Detach takes the programs out of the kernel, until the next configuration. The error is
// ErrNotRunning, that of ctx, or why a program is still there.
func (e *Engine) Detach(ctx context.Context) error {
	done := make(chan error, 1)
	e.mu.Lock()
	if !e.running {
		e.mu.Unlock()
		return ErrNotRunning
	}
	e.detach = append(e.detach, done)
	e.mu.Unlock()
	e.wake()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Begin tells that Run will be called soon. From now on, State and Detach wait for Run.
func (e *Engine) Begin() {
	e.mu.Lock()
	e.running = true
	e.mu.Unlock()
}

// Run keeps the kernel's maps current until ctx ends. Then it takes the programs out of the
// kernel, unless the configuration says otherwise. Errors are logged, and State shows them.
// The result is always nil.
func (e *Engine) Run(ctx context.Context) error {
	e.Begin()
	defer e.saveNow()
	defer func() {
		if e.spare != nil {
			e.spare.Close()
		}
	}()
	var saver sync.WaitGroup
	defer saver.Wait()
	saver.Go(func() { e.saveLearnt(ctx) })
	defer e.end()
	ticks := time.NewTicker(holdEvery)
	defer ticks.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		e.follow(ctx)
		var groups chan inotifyEvent
		var used <-chan time.Time
		if e.tree != nil {
			groups, used = e.tree.events, second.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.poke:
		case <-ticks.C:
			e.held()
		case <-used:
			e.sweep()
			e.charge(e.refresh)
			e.followHost()
			e.again()
			e.renew()
		case g := <-groups:
			e.groupChanged(g)
		case r := <-e.events:
			e.placed(r)
		}
	}
}

// follow does what other goroutines have asked for since its last call.
func (e *Engine) follow(ctx context.Context) {
	e.mu.Lock()
	want, detach, asked, ended := e.wanted, e.detach, e.asked, e.ended
	e.wanted, e.detach, e.asked, e.ended = nil, nil, nil, nil
	e.mu.Unlock()
	defer e.tell(asked)
	if want != nil {
		e.off = false
		e.configure(want)
	}
	if len(detach) > 0 {
		e.off = true
		err := e.close(false)
		for _, d := range detach {
			d <- err
		}
	}
	if e.table == nil || ctx.Err() != nil {
		return
	}
	if len(ended) > 0 {
		e.catchUp()
		e.learn(ended)
	}
	if wait := time.Until(e.nextAside); e.moved.Load() && wait > 0 {
		time.AfterFunc(wait, e.wake)
	} else if e.moved.Swap(false) {
		e.lookAside()
	}
	if v := e.view.Load(); v != nil && e.inputs.changed(v) {
		e.lookAside()
		e.askAll()
	}
}

// catchUp handles the records that wait. A connection may have ended before Run sees that it
// has begun. Records that come meanwhile wait for Run: programs may connect faster than they are
// handled, for as long as they like.
func (e *Engine) catchUp() {
	for range len(e.events) {
		e.placed(<-e.events)
	}
}

// configure puts a configuration into use.
func (e *Engine) configure(w *wanted) {
	e.placing = w.placing
	e.useLearning(w.scopes)
	if len(w.scopes) == 0 {
		e.scopes = nil
		if err := e.close(false); err != nil {
			e.log.Warn("what places connections stays attached", "err", err)
		}
		if dir := pinsOf(w.placing); dir != "" {
			if found, err := pins.Detach(dir); found && err == nil {
				e.log.Info("what an earlier run had attached for scopes is detached")
			}
		}
		e.err = nil
		return
	}
	before := e.scopes
	e.scopes, e.err = nil, nil
	for i := range w.scopes {
		e.lastID++
		s, _ := compile(&w.scopes[i], e.lastID) // whoever reads the configuration shows the warnings
		for _, old := range before {
			if old.Name == s.Name {
				s.count = old.count
			}
		}
		e.scopes = append(e.scopes, s)
	}
	fresh := e.table == nil
	if fresh {
		if err := e.open(); err != nil {
			e.err = err
			e.log.Error("connections of scopes are not placed", "err", err)
			return
		}
	}
	if e.lookAside(); fresh {
		e.inputs.changed(e.view.Load())
	}
	e.useRules()
	e.askUsual() // before classify makes processes belong to the scopes
	e.carryAnswers()
	e.classify()
	if fresh {
		if err := e.attach(); err != nil {
			e.err = err
			e.log.Error("connections of scopes are not placed", "err", err)
			_ = e.close(false)
			return
		}
	}
	if !fresh && e.attachment != nil {
		e.useMultipath()
	}
	e.retired[0].scopes = append(e.retired[0].scopes, before...)
}

// useRules tells the kernel of the rules of new scopes. Where there is no room for them, all
// connections of a scope are treated like those that no rule fits.
func (e *Engine) useRules() {
	room := hook.MaxUsual/2 - 4*len(e.scopes) // the scopes before are still there
	for _, s := range e.scopes {
		if s.rules == nil {
			continue
		}
		err := hook.ErrFull
		if room -= len(s.usual) - 4; room >= 0 {
			err = e.makeRoom(func() error { return e.table.SetRules(s.id, s.rules) })
		}
		if err != nil {
			e.problem("rules of scope "+s.Name, err)
			s.rules, s.variants = nil, s.variants[:1]
			s.usual = usuals(s.id, 1)
		}
	}
}

// held tells the kernel that the maps are current.
func (e *Engine) held() {
	if e.table == nil {
		return
	}
	if err := e.table.Hold(hold); err != nil {
		e.log.Warn("connections of scopes will not be placed for long", "err", err)
	}
}

// read hands the kernel's records over until the table is closed. If Run is late, records
// are lost, because the kernel's programs, and so their callers, wait for nobody.
func (e *Engine) read(t *hook.Table, to chan<- hook.Event, stop <-chan struct{}) {
	for {
		r, err := t.Read()
		switch {
		case errors.Is(err, hook.ErrEvent):
			e.lost.Add(1)
			continue
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			e.log.Warn("what is placed is not shown any more", "err", err)
			return
		}
		select {
		case to <- r:
		case <-stop:
			return
		default:
			e.lost.Add(1)
		}
	}
}

// lookAside tells the kernel which destinations have routes of their own.
func (e *Engine) lookAside() {
	begin := time.Now()
	list, err := e.opts.Aside()
	e.nextAside = time.Now().Add(20 * time.Since(begin)) // at most a twentieth of a processor
	if err != nil {
		e.log.Debug("routes are not known", "err", err)
		list = everything
	}
	if len(list) > hook.MaxAside/2 {
		list = everything // so many routes mostly lead elsewhere than to the Internet
	}
	now := make(map[netip.Prefix]bool, len(list))
	for _, p := range list {
		p = p.Masked()
		if now[p] = true; !e.aside[p] {
			err = errors.Join(err, e.table.SetAside(p))
		}
	}
	for p := range e.aside {
		if !now[p] {
			err = errors.Join(err, e.table.DropAside(p))
		}
	}
	e.aside = now
	if err != nil {
		e.problem("destinations with routes of their own", err)
	}
}

// everything stands for all destinations.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// problem logs an error of the kernel, which hardly ever happens, and keeps it for State.
func (e *Engine) problem(what string, err error) {
	e.log.Warn("the kernel does not take what scopes need", "what", what, "err", err)
	e.err = fmt.Errorf("%s: %w", what, err)
}
