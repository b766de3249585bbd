package hostfacts

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/process/systembus"
)

const (
	// minGap is the least time between the beginnings of two questions to a service,
	// however many signals come. The gap is workShare times the time that the previous
	// answer took, if that is longer, but at most maxGap. After the gap, everything
	// that signals have hinted at is known.
	minGap    = 50 * time.Millisecond
	maxGap    = 500 * time.Millisecond
	workShare = 10
	// lookInterval is the time between two looks at facts for which there is no signal,
	// and after a failed answer. systemd-resolved sends no signals about domains and
	// links, and systemd-networkd none about name servers.
	lookInterval = 5 * time.Second
)

// The interface of logind (org.freedesktop.login1(5)).
const (
	loginName = "org.freedesktop.login1"
	loginPath = "/org/freedesktop/login1"
)

// Watcher follows the services. It is safe for concurrent use.
type Watcher struct {
	path    string        // path of the bus's socket
	limit   time.Duration // time for each question
	look    time.Duration // time between two looks
	types   systembus.Types
	log     *slog.Logger
	changed chan struct{} // one slot
	resumed chan struct{} // likewise
	facts   atomic.Pointer[Facts]

	mu  sync.Mutex
	nm  *nmFacts // nil: NetworkManager is not there
	mm  *mmFacts
	dns map[int]DNS
	nd  *networkdFacts
	has map[string]bool // running services, by the names for people

	services []*service
}

// service is a followed service.
type service struct {
	name  string   // the name on the bus
	known string   // the name for people
	rules []string // match rules for its signals
	// looks tells whether to ask it at intervals, too. nil: it signals everything.
	looks func() bool
	poked chan struct{}
	// every tells that each of its signals is taken in. Without it, signals are passed over
	// while the service is to be asked anyway.
	every bool
	// concerns tells whether a signal hints at a change that matters.
	concerns func(*dbus.Signal) bool
	// read asks the owner of the name. With hinted, something may have changed of what
	// signals tell; without it, this is a look at what they do not tell.
	read func(ctx context.Context, b *bus, owner string, hinted bool) error
	// gone removes the service from the facts.
	gone func()
}

// New makes a Watcher of the services on the bus with its socket at path. It asks
// nothing before Run.
func New(path string, log *slog.Logger) *Watcher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{path: path, limit: answerTime, look: lookInterval, log: log, changed: make(chan struct{}, 1), resumed: make(chan struct{}, 1), has: map[string]bool{}}
	w.facts.Store(&Facts{})
	properties := func(name, arg string) string {
		return "type='signal',sender='" + name + "',interface='" + busName + ".Properties',member='PropertiesChanged',arg0='" + arg + "'"
	}
	w.services = []*service{
		{
			name: nmName, known: NetworkManager,
			rules: []string{
				properties(nmName, nmName), properties(nmName, nmDevice), properties(nmName, nmWireless),
				properties(nmName, nmActive), properties(nmName, nmAccess), properties(nmName, nmDHCP4),
			},
			concerns: func(s *dbus.Signal) bool { return w.concernsNM(s) && propertiesChanged(s, nmChanges) },
			read:     w.readNM, gone: func() { w.nm = nil },
		},
		{
			name: mmName, known: ModemManager,
			rules: []string{
				properties(mmName, mmModem), properties(mmName, mm3GPP), properties(mmName, mmBearer),
				"type='signal',sender='" + mmName + "',interface='" + busName + ".ObjectManager',path='" + mmPath + "'",
			},
			concerns: func(s *dbus.Signal) bool { return propertiesChanged(s, mmChanges) },
			read:     w.readMM, gone: func() { w.mm = nil },
		},
		{
			name: resolvedName, known: Resolved, looks: func() bool { return true },
			rules:    []string{properties(resolvedName, resolvedManager), properties(resolvedName, resolvedLink)},
			concerns: func(s *dbus.Signal) bool { return propertiesChanged(s, resolvedChanges) },
			read:     w.readResolved, gone: func() { w.dns = nil },
		},
		{
			// systemd-resolved has the name servers that are not signalled.
			name: networkdName, known: Networkd, looks: func() bool { return !w.tells(Resolved) },
			rules:    []string{properties(networkdName, networkdManager), properties(networkdName, networkdLink)},
			concerns: func(s *dbus.Signal) bool { return propertiesChanged(s, networkdChanges) },
			read:     w.readNetworkd, gone: func() { w.nd = nil },
		},
	}
	w.services = append(w.services, &service{
		name: loginName, known: "logind", every: true,
		rules: []string{"type='signal',sender='" + loginName + "',path='" + loginPath + "',interface='" + loginName + ".Manager',member='PrepareForSleep'"},
		concerns: func(s *dbus.Signal) bool {
			if len(s.Body) == 1 && s.Body[0] == false && s.Name == loginName+".Manager.PrepareForSleep" {
				offer(w.resumed)
			}
			return false
		},
		read: func(context.Context, *bus, string, bool) error { return nil }, gone: func() {},
	})
	for _, s := range w.services {
		s.poked = make(chan struct{}, 1)
	}
	return w
}

// Facts returns what is known now. It is never nil.
func (w *Watcher) Facts() *Facts { return w.facts.Load() }

// Changed returns a channel that has a value after Facts has changed. It is for one
// reader.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Resumed has a value after logind has said that the host wakes from sleep. It is for one
// reader.
func (w *Watcher) Resumed() <-chan struct{} { return w.resumed }

// AskAgain has each service asked again, as after sleep.
func (w *Watcher) AskAgain() {
	for _, s := range w.services {
		s.poke()
	}
}

// LinksChanged tells the Watcher that the host's interfaces have changed.
// systemd-resolved and systemd-networkd send no signals about that.
func (w *Watcher) LinksChanged() {
	for _, s := range w.services {
		if s.looks != nil {
			s.poke()
		}
	}
}

func (s *service) poke() { offer(s.poked) }

// curious tells whether a signal of the service would tell anything. While the service
// has been poked and not been asked yet, none does: the answer will be newer than all
// signals that have arrived until then.
func (s *service) curious() bool { return s.every || len(s.poked) == 0 }

// tells tells whether a service has answered and is still there.
func (w *Watcher) tells(known string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.has[known]
}

// offer fills the slot of a channel.
func offer(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run follows the services until ctx ends. If there is no bus, or if the bus ends, Run
// tries again. The error is always nil.
func (w *Watcher) Run(ctx context.Context) error {
	systembus.Keep(ctx, w.log, "the system bus is not followed", func(ctx context.Context) error {
		err := w.session(ctx, nil)
		w.lost()
		return err
	})
	return nil
}

// Read asks all services once, as long as ctx permits. An error means that there is no
// bus.
func Read(ctx context.Context, path string) (*Facts, error) {
	w := New(path, nil)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := w.session(ctx, cancel)
	if ctx.Err() != nil { // all was read, or the time is over
		err = nil
	}
	return w.Facts(), err
}

// session joins the bus and follows the services until the bus is lost or ctx ends. If
// once is not nil, it is called when each service was asked once.
func (w *Watcher) session(ctx context.Context, once func()) error {
	names := make([]string, len(w.services))
	byName := map[string]*service{}
	for i, s := range w.services {
		names[i], byName[s.name] = s.name, s
	}
	b, err := join(ctx, w.path, w.limit, &w.types, names, func(name string, signal *dbus.Signal) {
		if s := byName[name]; signal == nil || s.concerns(signal) {
			s.poke()
		}
	}, func(name string) bool { return byName[name].curious() })
	if err != nil {
		return err
	}
	defer func() { _ = b.conn.Close() }()
	for _, s := range w.services {
		for _, rule := range s.rules {
			if err := b.match(ctx, rule); err != nil {
				return err
			}
		}
	}
	g, inner := errgroup.WithContext(ctx)
	var first sync.WaitGroup
	for _, s := range w.services {
		first.Add(1)
		g.Go(func() error {
			w.follow(inner, b, s, sync.OnceFunc(first.Done))
			return nil
		})
	}
	if once != nil {
		g.Go(func() error {
			first.Wait()
			once()
			return nil
		})
	}
	g.Go(func() error {
		select {
		case <-b.conn.Context().Done():
			return errLost
		case <-inner.Done():
			return nil
		}
	})
	return g.Wait()
}

var errLost = errors.New("the bus has closed the connection")

// follow asks a service at once and whenever it is poked, until ctx ends. asked is
// called after the first time.
func (w *Watcher) follow(ctx context.Context, b *bus, s *service, asked func()) {
	defer asked()
	look := time.NewTimer(0)
	defer look.Stop()
	failing, hinted := false, true
	for {
		began := time.Now()
		owner := b.owner(s.name)
		var err error
		if owner == "" {
			w.leave(s)
		} else if err = s.read(ctx, b, owner, hinted || failing); ctx.Err() != nil {
			return
		}
		asked()
		if err != nil && !failing {
			w.log.Warn("a service does not answer as it should", "service", s.known, "err", err)
		}
		failing = err != nil
		look.Stop()
		if failing || owner != "" && s.looks != nil && s.looks() {
			look.Reset(w.look)
		}
		if !sleep(ctx, min(max(minGap, workShare*time.Since(began)), maxGap)-time.Since(began)) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.poked:
			hinted = true
		case <-look.C:
			hinted = false
		}
	}
}

// sleep waits for d. It returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// concernsNM tells whether a signal is about an object that matters, among the objects
// of the last answer.
func (w *Watcher) concernsNM(s *dbus.Signal) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nm == nil || w.nm.paths[s.Path]
}

func (w *Watcher) readNM(ctx context.Context, b *bus, owner string, _ bool) error {
	w.mu.Lock()
	var before nmFacts
	if w.nm != nil {
		before = *w.nm // safe to use without the lock: it never changes
	}
	w.mu.Unlock()
	now, err := readNM(ctx, b.getAll(owner), hardwareAddr, before)
	if err == nil {
		w.take(NetworkManager, func() { w.nm = &now })
	}
	return err
}

func (w *Watcher) readMM(ctx context.Context, b *bus, owner string, _ bool) error {
	now, err := readMM(ctx, b.getManaged(owner), b.getAll(owner))
	if err == nil {
		w.take(ModemManager, func() { w.mm = &now })
	}
	return err
}

func (w *Watcher) readResolved(ctx context.Context, b *bus, owner string, _ bool) error {
	now, err := readResolved(ctx, b.getAll(owner))
	if err == nil {
		w.take(Resolved, func() { w.dns = now })
	}
	return err
}

func (w *Watcher) readNetworkd(ctx context.Context, b *bus, owner string, hinted bool) error {
	var before *networkdFacts
	if !hinted {
		w.mu.Lock()
		before = w.nd // safe to use without the lock: it never changes
		w.mu.Unlock()
	}
	now, err := b.networkd(owner).read(ctx, before)
	if err == nil {
		w.take(Networkd, func() { w.nd = &now })
	}
	return err
}

// take stores what a service says.
func (w *Watcher) take(known string, set func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.has[known] {
		w.has[known] = true
		w.log.Info("a service tells of the host's networks", "service", known)
	}
	set()
	w.composeLocked()
}

// leave removes the facts of a service that is gone.
func (w *Watcher) leave(s *service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.has[s.known] {
		return
	}
	delete(w.has, s.known)
	w.log.Info("a service tells nothing of the host's networks any more", "service", s.known)
	s.gone()
	w.composeLocked()
	if s.known == Resolved { // its servers are asked of systemd-networkd, at intervals
		w.LinksChanged()
	}
}

// lost removes all facts, because without the bus nobody knows whether they still hold.
func (w *Watcher) lost() {
	for _, s := range w.services {
		w.leave(s)
	}
}

// composeLocked combines the facts, and signals if they differ from those before.
func (w *Watcher) composeLocked() {
	f := &Facts{links: map[string]Link{}, dns: map[int]DNS{}}
	if w.nd != nil {
		maps.Copy(f.dns, w.nd.dns)
	}
	// systemd-resolved knows the servers of systemd-networkd, and what others say of them.
	maps.Copy(f.dns, w.dns)
	for _, s := range w.services {
		if w.has[s.known] {
			version := ""
			if s.known == NetworkManager && w.nm != nil {
				version = w.nm.version
			}
			f.Services = append(f.Services, Service{Name: s.known, Version: version})
		}
	}
	if w.nm != nil {
		maps.Copy(f.links, w.nm.links)
	}
	if w.mm != nil {
		for name, m := range w.mm.modems {
			if w.nm != nil && w.nm.data[name] != "" {
				name = w.nm.data[name]
			}
			l := f.links[name]
			l.Modem = &m
			f.links[name] = l
		}
	}
	if w.nd != nil {
		for name, s := range w.nd.links {
			l := f.links[name]
			l.Online = s.online
			if s.portal != "" && l.Portal == "" {
				l.Portal, l.PortalSource = s.portal, Networkd
			}
			f.links[name] = l
		}
	}
	if before := w.facts.Load(); before.equal(f) {
		return
	}
	w.facts.Store(f)
	offer(w.changed)
}

func (f *Facts) equal(o *Facts) bool {
	if len(f.Services) != len(o.Services) {
		return false
	}
	for i := range f.Services {
		if f.Services[i] != o.Services[i] {
			return false
		}
	}
	return maps.EqualFunc(f.links, o.links, Link.equal) && maps.EqualFunc(f.dns, o.dns, DNS.equal)
}
