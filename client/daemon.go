package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/wire"
)

// Defaults of a Daemon's settings.
const (
	// As long as the resolver of the C library tries with its default settings,
	// two rounds of 5 s.
	defaultResolveTimeout = 10 * time.Second

	maxIdleLinks = 8 // more requests at once open further connections

	// One late answer on a busy host is no outage: the first pause is as short
	// as the daemon's measurement interval. A daemon that hangs soon costs next
	// to nothing, because the pause doubles.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Minute

	// How often a daemon that is not there is looked for: less than it takes to
	// start, so that who has started it finds it in use. Looking each time took an
	// eighth of a proxy's processor time for a short connection.
	lookEvery = 5 * time.Millisecond
)

// features are the extensions that this package announces.
const features = wire.FeatureAlternates | wire.FeatureReason | wire.FeatureReports | wire.FeatureWideIntents | wire.FeatureNoResolve |
	wire.FeaturePaths | wire.FeatureOrigin | wire.FeaturePlainDials | wire.FeatureOnly | wire.FeatureSelection | wire.FeatureCosts | wire.FeatureLeases

// Daemon is the way to the Multi Access Manager: a few connections to its
// socket, each with one request at a time. The zero value is ready to use.
// It is safe for concurrent use, and must not be copied after first use.
type Daemon struct {
	// Path is the request socket. If it is empty, MAMMA_SOCKET of the
	// environment names it, else it is mamma/mamma.sock in XDG_RUNTIME_DIR
	// (without one, mamma-UID/mamma.sock in the temporary directory) or in /run,
	// whichever is there first. The socket must belong to root, to the user
	// "mamma", or to this process's user.
	Path string

	// DecisionTimeout is how long to wait for a decision before dialling
	// plainly, opening the connection to the daemon included; a negative value
	// means never to ask. Of a dial that has less time, it takes half.
	//
	// 0 means to go by how long answers took: sixteen times the slowest of the last
	// half minute, but no less than 50 ms, and no more than the intents allow. That
	// is 250 ms for what somebody waits for (by timeliness, else by category), a
	// second for a transfer or a bulk transfer, two for background traffic, and half
	// a second where neither is stated. The first answer of a daemon may take all
	// of that.
	//
	// A daemon that let it pass is not asked again for a while: 100 ms first, a
	// minute at last, and until its late answer has come. That answer serves the
	// next dial to the same destination with the same intents, for half a second. A
	// daemon that is not there is looked for again after 5 ms.
	//
	// The original daemon serves one request after the other and measures in
	// between, so it has ResolveTimeout for every answer once it is known.
	DecisionTimeout time.Duration

	// ResolveTimeout is how long to wait for a name to be resolved; 0 means 10 s.
	ResolveTimeout time.Duration

	// MaxLeases is how many decisions are kept that the manager says hold for further
	// connections of the same kind; 0 means 1024, a negative value none: then the
	// manager is asked about each connection. It says for how long, how many and which
	// ones. Those that follow a kept decision are reported together, within a second,
	// and the kept ones end the moment that a network fails or returns, routes change,
	// or the manager is reloaded or gone.
	MaxLeases int

	connect func(context.Context) (net.Conn, error) // replaced by tests; nil: dialDaemon

	mu        sync.Mutex
	idle      []*link // most recently used last
	notBefore time.Time
	// lastFailure is when backoff was last raised.
	lastFailure time.Time
	backoff     time.Duration // 0: the daemon is well
	outage      bool          // was announced by wentPlain
	patience    patience
	spares      map[spareKey]spare
	plain, told PlainDials // all, and those that the daemon was told of
	absence     error      // why the daemon was not there when it was last looked for
	lookAgain   time.Time
	original    bool           // no extensions, when it last answered
	late        map[*link]bool // wait for answers that nobody wants any more; true: of a daemon with extensions
	owing       int            // exchanges under way whose answer an original daemon owes
	settled     chan struct{}  // closed when it owes none any more; nil: nobody waits for that
	closes      int            // how often Close was called
	reports     []*wire.Message
	reportTimer *time.Timer // nil: none was deferred yet
	deferred    bool        // reportTimer runs
	reporting   bool
	sent        chan struct{} // closed when reporting is false again
	reporter    sync.WaitGroup
	reading     sync.WaitGroup // of late answers of daemons with extensions

	page   *generation.Page // of the daemon that last answered; nil: it gave none
	leases leases           // has its own lock, which comes before mu
}

// Reasons not to ask the daemon.
var (
	errDisabled   = errors.New("asking is switched off")
	errBackingOff = errors.New("did not answer in time a moment ago")
	errForeignID  = errors.New("answer for another connection")
)

// Close closes the idle connections to the daemon and drops reports that were
// not sent yet. A connection on which the original daemon still owes an answer is
// closed when that came, ten minutes later at most: Flush waits for it, which a program
// that ends should do. The Daemon can still be used.
func (d *Daemon) Close() error {
	d.stopLeases()
	d.mu.Lock()
	d.closes++
	d.reports = nil
	if d.deferred {
		d.reportTimer.Stop()
		d.deferred = false
	}
	for l, extended := range d.late {
		if extended {
			l.close() // which ends the wait
		}
	}
	d.mu.Unlock()
	d.reporter.Wait()
	d.reading.Wait()
	d.dropIdle()
	return nil
}

// decisionTimeout is how long to wait for a decision about a connection with these
// intents.
func (d *Daemon) decisionTimeout(s intent.Set) time.Duration {
	if d.DecisionTimeout != 0 {
		return d.DecisionTimeout
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	most := allowed(s)
	if !d.patience.met && d.backoff > 0 {
		return min(minPatience, most) // what let all of it pass once costs no dial as much again
	}
	return d.patience.wait(most, time.Now())
}

func (d *Daemon) resolveTimeout() time.Duration {
	if d.ResolveTimeout == 0 {
		return defaultResolveTimeout
	}
	return d.ResolveTimeout
}

// A question is what the daemon is asked.
type question struct {
	// request makes it for a daemon with the features f.
	request func(f wire.Features) *wire.Message
	intents intent.Set
	// resolves tells that a daemon with the features f looks a name up before it
	// answers, which may take long. Nil: never.
	resolves func(f wire.Features) bool
	key      *spareKey // a late answer serves the next question of the same kind; nil: nobody
}

// answerer is the daemon that has answered.
type answerer struct {
	features wire.Features
	page     *generation.Page // that it gave; nil: none
}

// ask puts q and decodes the answer into ans. If a connection turns out to have
// died while it was idle, as after a restart of the daemon, it asks once more on
// a new one.
func (d *Daemon) ask(ctx context.Context, q question, ans *wire.Message) (answerer, error) {
	start := time.Now()
	if err := d.mayAsk(start); err != nil {
		return answerer{}, err
	}
	for {
		limits := d.limits(ctx, q, start)
		l, reused, err := d.link(ctx, limits)
		if err != nil {
			return answerer{}, d.failed(ctx, start, err)
		}
		f := l.features
		req := q.request(f)
		takeBack, takeBackLeases := func() {}, func() {}
		if f&wire.FeaturePlainDials != 0 {
			takeBack = d.untold(req)
		}
		if f&wire.FeatureLeases != 0 {
			takeBackLeases = d.untoldLeases(req)
		}
		resolves := q.resolves != nil && q.resolves(f)
		deadline := limits.soon
		switch {
		case f == 0:
			deadline = limits.patient
		case resolves:
			deadline = start.Add(d.resolveTimeout())
		}
		l.begun, l.key = start, q.key
		if resolves {
			l.begun, l.key = time.Time{}, nil
		}
		if f == 0 {
			d.owes(1)
		}
		err = l.exchange(ctx, deadline, req, ans)
		from := answerer{l.features, l.page}
		if err != nil && !l.asked {
			takeBack()
			takeBackLeases()
		}
		d.done(ctx, l, err)
		if f == 0 {
			d.owes(-1)
		}
		if err == nil {
			return from, nil
		}
		if f&wire.FeatureNoResolve != 0 && resolves && isLate(err) {
			return answerer{}, err // a slow resolver; the daemon itself has answered before
		}
		var bad *wire.Error
		if !reused || ctx.Err() != nil || isLate(err) || errors.As(err, &bad) {
			return answerer{}, d.failed(ctx, start, err)
		}
		d.dropIdle()
		d.forgetPatience()
		d.voidLeases()
	}
}

// done sees to what becomes of l after an exchange.
func (d *Daemon) done(ctx context.Context, l *link, err error) {
	if err != nil {
		d.giveUp(ctx, l, err)
	} else {
		d.succeeded(l)
	}
}

// limits are the times until when a daemon may answer: one with extensions, and one
// that resolves names meanwhile.
type limits struct{ soon, patient time.Time }

// limits are those of a question that was put at start.
func (d *Daemon) limits(ctx context.Context, q question, start time.Time) limits {
	wait := d.decisionTimeout(q.intents)
	l := limits{soon: start.Add(wait), patient: start.Add(max(wait, d.resolveTimeout()))}
	if end, ok := ctx.Deadline(); ok {
		// Leave the caller time to go on without us.
		half := start.Add(end.Sub(start) / 2)
		if half.Before(l.soon) {
			l.soon = half
		}
		if half.Before(l.patient) {
			l.patient = half
		}
	}
	return l
}

// forgetPatience makes the next answer that of a first contact: the daemon has been
// started anew, and may be starting still.
func (d *Daemon) forgetPatience() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.patience = patience{}
}

// mayAsk tells why the daemon should not be asked now. After a back-off one
// request may try again, the others wait for how it fares.
func (d *Daemon) mayAsk(now time.Time) error {
	if d.DecisionTimeout < 0 {
		return errDisabled
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.lookAgain) {
		return d.absence
	}
	if d.waitingLocked() >= maxLate {
		return errLate
	}
	if d.backoff == 0 {
		return nil
	}
	if now.Before(d.notBefore) {
		return errBackingOff
	}
	d.notBefore = now.Add(d.backoff)
	return nil
}

// link returns a connection to the daemon, an idle one if there is. The daemon may
// be patient in saying what it is if it is known as the original.
func (d *Daemon) link(ctx context.Context, limits limits) (_ *link, reused bool, _ error) {
	d.mu.Lock()
	if n := len(d.idle); n > 0 {
		l := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		return l, true, nil
	}
	deadline := limits.soon
	if d.original {
		deadline = limits.patient
	}
	d.mu.Unlock()
	connecting, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	connect := d.connect
	if connect == nil {
		connect = d.dialDaemon
	}
	nc, err := connect(connecting)
	if err != nil {
		return nil, false, err
	}
	l := newLink(nc, d.MaxLeases >= 0)
	d.owes(1)
	defer d.owes(-1)
	if err := l.hello(ctx, deadline); err != nil {
		d.giveUp(ctx, l, err)
		if isLate(err) && ctx.Err() == nil {
			d.setOriginal(false) // another one may be there now, which hangs
		}
		return nil, false, err
	}
	d.setOriginal(l.features == 0)
	d.met(l)
	return l, false, nil
}

// met takes the page that a new connection has brought. Leases of another run of the
// daemon are void.
func (d *Daemon) met(l *link) {
	l.takePage()
	d.mu.Lock()
	before := d.page
	if before.Same(l.page) {
		l.page = before
	}
	d.page = l.page
	d.mu.Unlock()
	if before != nil && before != l.page {
		d.voidLeases()
	}
}

func (d *Daemon) setOriginal(is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.original = is
}

func (d *Daemon) succeeded(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backoff, d.outage = 0, false
	d.original = l.features == 0
	d.timedLocked(l)
	d.keepLocked(l)
}

// timedLocked notes how long l's answer took, if that tells of the daemon: a name
// server and the original daemon have their own pace.
func (d *Daemon) timedLocked(l *link) {
	if l.features == 0 || l.begun.IsZero() {
		return
	}
	now := time.Now()
	d.patience.answered(now.Sub(l.begun), now)
}

// failed notes that the daemon, asked at start, failed, unless the caller gave up. Only waiting
// for nothing, and nonsense, make a reason to leave it alone for a while, and
// that it is not there for a moment.
func (d *Daemon) failed(ctx context.Context, start time.Time, err error) error {
	var bad *wire.Error
	absent, late := isAbsent(err), isLate(err)
	now := time.Now()
	if late {
		err = &lateError{now.Sub(start), err}
	}
	if ctx.Err() != nil || !absent && !late && !errors.As(err, &bad) && !errors.Is(err, errForeignID) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if absent {
		d.absence, d.lookAgain = err, now.Add(lookEvery)
		return err
	}
	if d.backoff > 0 && d.lastFailure.After(start) {
		return err // it was asked at the same time as another one, and has seen the same outage
	}
	d.lastFailure = now
	d.backoff = min(max(2*d.backoff, firstBackoff), maxBackoff)
	d.notBefore = now.Add(d.backoff)
	return err
}

func (d *Daemon) dropIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.idle {
		l.close()
	}
	d.idle = nil
}
