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
	// hold is how long connections are placed on the word of a daemon that is gone: long
	// enough for its service manager to start it again.
	hold = 10 * time.Minute
	// holdEvery is how often a daemon that is there says so.
	holdEvery = time.Minute
	// backlog is how many records wait for the daemon besides those in the ring buffer.
	backlog = 1024
)

// Decider decides on connections and remembers what was decided: a *mam.Manager.
type Decider interface {
	Ask(mam.Question, time.Time) (mam.Advice, error)
	Remember(mam.Record) mam.Record
}

// Options of an Engine.
type Options struct {
	Decider Decider
	// Aside lists the destinations that the host's routes and rules treat in a way of
	// their own, or everything if that cannot be told.
	Aside func() ([]netip.Prefix, error)
	Log   *slog.Logger // nil: nothing is logged
}

// Engine keeps what is in the kernel current. Run does the work; the other methods are
// safe for concurrent use and return at once.
type Engine struct {
	opts Options
	log  *slog.Logger
	load func() (*hook.Table, error) // hook.Load; tests have others

	poke  chan struct{} // one slot: something below has changed
	view  atomic.Pointer[mam.View]
	moved atomic.Bool // the host's routes may have changed
	lost  atomic.Uint64

	mu      sync.Mutex
	wanted  *wanted // nil: as it is
	detach  []chan error
	asked   []chan State
	running bool

	// What follows is Run's.
	scopes     []*scope
	placing    config.Placing
	off        bool // detached on request, until the next configuration
	table      *hook.Table
	attachment *hook.Attachment
	tree       *tree
	stop       chan struct{} // closed for the goroutines of a table
	events     chan hook.Event
	wait       sync.WaitGroup
	classes    map[string]*class
	lastID     uint32 // of scopes and classes
	groups     map[uint64]*class
	where      map[string]uint64 // groups by path
	answers    answers
	inputs     inputs
	aside      map[netip.Prefix]bool
	nextAside  time.Time // when the routes may be read again
	own        string    // the control group of this process, if its connections are told by it
	err        error
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
	return &Engine{opts: opts, log: opts.Log, load: hook.Load, poke: make(chan struct{}, 1)}
}

func (e *Engine) wake() {
	select {
	case e.poke <- struct{}{}:
	default:
	}
}

// Configure puts the scopes of a configuration into use. They must not be changed after.
func (e *Engine) Configure(scopes []config.Scope, placing config.Placing) {
	e.mu.Lock()
	e.wanted = &wanted{scopes, placing}
	e.mu.Unlock()
	e.wake()
}

// Published says that v is what is decided on from now on.
func (e *Engine) Published(v *mam.View) {
	e.view.Store(v)
	e.wake()
}

// RoutesChanged says that the kernel has told of a change.
func (e *Engine) RoutesChanged() {
	e.moved.Store(true)
	e.wake()
}

// ErrNotRunning means that there is nobody to do it.
var ErrNotRunning = errors.New("scopes are not at work")

// Detach ends what is attached, until the next configuration.
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

// Begin says that Run is about to be called: State and Detach wait for it from now on.
func (e *Engine) Begin() {
	e.mu.Lock()
	e.running = true
	e.mu.Unlock()
}

// Run keeps the kernel current until ctx ends. Then what is attached ends too, unless the
// configuration says otherwise. What goes wrong is logged, and shown by State; the error is
// always nil.
func (e *Engine) Run(ctx context.Context) error {
	e.Begin()
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
			e.refresh()
		case g := <-groups:
			e.groupChanged(g)
		case r := <-e.events:
			e.placed(r)
		}
	}
}

// follow does what was asked for since the last time.
func (e *Engine) follow(ctx context.Context) {
	e.mu.Lock()
	want, detach, asked := e.wanted, e.detach, e.asked
	e.wanted, e.detach, e.asked = nil, nil, nil
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

// configure puts a configuration into use.
func (e *Engine) configure(w *wanted) {
	e.placing = w.placing
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
	e.scopes = nil
	for i := range w.scopes {
		e.lastID++
		s, _ := compile(&w.scopes[i], e.lastID) // who reads the configuration warns
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
	e.askUsual() // before anybody belongs to them
	e.answers.clear(e.table)
	e.classify()
	if fresh {
		if err := e.attach(); err != nil {
			e.err = err
			e.log.Error("connections of scopes are not placed", "err", err)
			_ = e.close(false)
			return
		}
	}
	e.answers.dropScopes(e.table, before)
	e.err = nil
}

// pinsOf is the directory of links, "" if they are not to be kept.
func pinsOf(p config.Placing) string {
	switch p.Pins {
	case "":
		return pins.Default
	case config.Off:
		return ""
	}
	return p.Pins
}

// rootOf is the control group below which scopes are looked for.
func rootOf(p config.Placing) (string, error) {
	if p.Root != "" {
		return p.Root, nil
	}
	return hook.Mount()
}

// open loads what is needed, and begins to watch the control groups.
func (e *Engine) open() (err error) {
	root, err := rootOf(e.placing)
	if err != nil {
		return err
	}
	if e.table, err = e.load(); err != nil {
		return err
	}
	e.answers = newAnswers()
	e.aside = map[netip.Prefix]bool{}
	e.classes, e.groups, e.where = map[string]*class{}, map[uint64]*class{}, map[string]uint64{}
	e.events, e.stop = make(chan hook.Event, backlog), make(chan struct{})
	if e.tree, err = openTree(root); err != nil {
		_ = e.close(false)
		return err
	}
	if e.own = ""; !e.table.KnowsProcess() {
		e.own = ownGroup()
	}
	tree, table, events, stop := e.tree, e.table, e.events, e.stop
	e.wait.Go(func() { tree.run(stop) })
	e.wait.Go(func() { e.read(table, events, stop) })
	return nil
}

// attach has the kernel follow the maps.
func (e *Engine) attach() error {
	if err := e.table.Hold(hold); err != nil {
		return err
	}
	a, err := e.table.Attach(e.tree.root, pinsOf(e.placing))
	if errors.Is(err, pins.ErrUnusable) && !errors.Is(err, pins.ErrInUse) {
		e.log.Warn("connections of scopes are not placed while mamma does not run", "err", err)
		a, err = e.table.Attach(e.tree.root, "")
	}
	if err != nil {
		return err
	}
	e.attachment = a
	e.log.Info("placing connections of scopes", "scopes", len(e.scopes), "hooks", a.Hooks(), "cgroup", e.tree.root, "kept", a.Kept())
	if missing := e.table.Missing(); len(missing) > 0 {
		e.log.Warn("this kernel lacks hooks: datagrams of sockets that are not connected are not placed", "hooks", missing)
	}
	return nil
}

// close ends what is attached, or leaves it to the next run.
func (e *Engine) close(keep bool) error {
	var err error
	if e.attachment != nil {
		if keep && e.attachment.Kept() {
			e.attachment.Close()
		} else {
			err = e.attachment.Detach()
		}
		e.attachment = nil
	}
	if e.stop != nil {
		close(e.stop)
		e.stop = nil
	}
	if e.tree != nil {
		e.tree.close()
	}
	if e.table != nil {
		e.table.Stop()
	}
	e.wait.Wait()
	if e.table != nil {
		e.table.Close()
	}
	e.tree, e.table, e.events = nil, nil, nil
	return err
}

// end ends it all.
func (e *Engine) end() {
	e.held()
	if err := e.close(e.placing.Keep); err != nil {
		e.log.Warn("what places connections of scopes stays attached", "err", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = false
	for _, d := range e.detach {
		d <- nil
	}
	for _, a := range e.asked {
		a <- State{}
	}
	e.detach, e.asked = nil, nil
}

// held says that the maps are current.
func (e *Engine) held() {
	if e.table == nil {
		return
	}
	if err := e.table.Hold(hold); err != nil {
		e.log.Warn("connections of scopes will not be placed for long", "err", err)
	}
}

// read hands records over, as long as there are some. Who is late loses some: the kernel's
// programs, and so their callers, wait for nobody.
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

// lookAside tells the kernel which destinations have ways of their own.
func (e *Engine) lookAside() {
	begin := time.Now()
	list, err := e.opts.Aside()
	e.nextAside = time.Now().Add(20 * time.Since(begin)) // at most a twentieth of a processor
	if err != nil {
		e.log.Debug("routes are not known", "err", err)
		list = everything
	}
	if len(list) > hook.MaxAside/2 {
		list = everything // of those, most are elsewhere than the Internet
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

// everything is all destinations.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// problem logs what hardly happens.
func (e *Engine) problem(what string, err error) {
	e.log.Warn("the kernel does not take what scopes need", "what", what, "err", err)
	e.err = fmt.Errorf("%s: %w", what, err)
}
