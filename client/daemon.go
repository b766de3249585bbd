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
	// defaultResolveTimeout is the time that the C library's resolver takes with its
	// default settings: two rounds of 5 s.
	defaultResolveTimeout = 10 * time.Second

	maxIdleLinks = 8 // for more requests at once, connections are opened and closed again

	// The first pause is as short as the daemon's measurement interval, because one
	// late answer on a busy host is not an outage. A daemon that hangs still costs next to
	// nothing soon, because the pause doubles.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Minute

	// lookEvery is the least time between two looks for a daemon that is not there. It
	// is shorter than the daemon's start, so a program that starts the daemon finds it
	// at once. Looking for the daemon at each dial took an eighth of a proxy's
	// processor time per short connection.
	lookEvery = 5 * time.Millisecond
)

// features are the extensions that this package announces.
const features = wire.FeatureAlternates | wire.FeatureReason | wire.FeatureReports | wire.FeatureWideIntents | wire.FeatureNoResolve |
	wire.FeaturePaths | wire.FeatureOrigin | wire.FeaturePlainDials | wire.FeatureOnly | wire.FeatureSelection | wire.FeatureCosts | wire.FeatureLeases | wire.FeatureNetworks | wire.FeatureFlows

// Daemon is the way to the Multi Access Manager. It holds a few connections to the
// manager's socket, each with one request at a time. The zero value is ready to use. A
// Daemon is safe for concurrent use, and must not be copied after first use.
type Daemon struct {
	// Path is the path of the request socket. If Path is empty, the environment
	// variable MAMMA_SOCKET gives it. Without that, the socket is mamma/mamma.sock in
	// XDG_RUNTIME_DIR (or, if that is unset, mamma-UID/mamma.sock in the temporary
	// directory, where mamma-UID must be this user's alone) or in /run, whichever exists
	// first. The socket must belong to root, to the user "mamma", or to this process's
	// user.
	Path string

	// DecisionTimeout is how long to wait for a decision before dialling plainly. The
	// time includes opening the connection to the daemon. A negative value means never
	// to ask. A dial with a shorter deadline waits for half of its time only.
	//
	// 0 means to adapt the time to earlier answers: sixteen times the slowest answer of
	// the last half minute, but at least 50 ms, and at most what the intents allow.
	// They allow 250 ms if somebody waits for the connection (by timeliness, else by
	// category), a second for a transfer or a bulk transfer, two seconds for background
	// traffic, and half a second if neither is stated. The first answer of a daemon may
	// take all of that.
	//
	// After a timeout the daemon is not asked for a while: for 100 ms at first, for up to
	// a minute after repeated timeouts. Its late answer ends the pause. For half a second
	// that answer also serves the next dial to the same destination with the same
	// intents. If no daemon is there, the next look for one is 5 ms later.
	//
	// The daemon of the Socket Intents prototype serves one request after the other and
	// measures in between. Once the Daemon has seen that it speaks to that one, every
	// answer may take up to ResolveTimeout.
	DecisionTimeout time.Duration

	// ResolveTimeout is how long to wait until a name is resolved; 0 means 10 s.
	ResolveTimeout time.Duration

	// MaxLeases is the number of leases that are kept. A lease is a decision that holds
	// for further connections of the same kind; the manager says for how long, for how
	// many, and for which ones. 0 means 1024. A negative value means none, so that the
	// manager is asked about each connection. Connections by leases are reported
	// together, once a second. Leases end as soon as the manager sees that a network has
	// failed or returned or that routes have changed, when it is reloaded, and a tenth of
	// a second after it is gone at the latest.
	MaxLeases int

	connect func(context.Context) (net.Conn, error) // tests replace it; nil: dialDaemon

	mu        sync.Mutex
	idle      []*link // most recently used last
	notBefore time.Time
	// lastFailure is the time when backoff was last raised.
	lastFailure time.Time
	backoff     time.Duration // 0: the daemon is well
	outage      bool          // wentPlain has announced it
	patience    patience
	spares      map[spareKey]spare
	plain, told PlainDials // all plain dials, and those that the daemon knows of
	absence     error      // why the latest look for the daemon failed
	lookAgain   time.Time
	original    bool           // the daemon's latest answer announced no extensions
	late        map[*link]bool // links with an answer under way that nobody waits for; true: from a daemon with extensions
	owing       int            // exchanges whose answer an original daemon still owes
	settled     chan struct{}  // closed when no answer is owed any more; nil: nobody waits for that
	closes      int            // how often Close was called
	reports     []*wire.Message
	reportTimer *time.Timer // nil: no report was deferred yet
	deferred    bool        // reportTimer is running
	reporting   bool
	sent        chan struct{} // closed when reporting becomes false
	reporter    sync.WaitGroup
	// stopReporting ends what a report waits for; nil: none was sent yet.
	stopReporting context.CancelFunc
	reading       sync.WaitGroup // counts readers of late answers of daemons with extensions

	page   *generation.Page // from the daemon that answered last; nil: it gave none
	leases leases           // has a lock of its own, which is taken before mu
}

// Reasons not to ask the daemon.
var (
	errDisabled   = errors.New("asking is switched off")
	errBackingOff = errors.New("did not answer in time a moment ago")
	errForeignID  = errors.New("answer for another connection")
)

// Close sends the reports that wait, and closes the idle connections to the daemon.
// Reports that the daemon does not take within 100 ms are dropped. The Daemon can be used
// again after Close.
//
// One kind of connection outlives Close: one on which the daemon of the Socket Intents
// prototype still owes an answer. It stays open until the answer has come, for ten
// minutes at most. A program that ends should call Flush, which waits for such answers.
func (d *Daemon) Close() error {
	if sent := d.sendNow(); sent != nil {
		enough := time.NewTimer(closeTimeout)
		select {
		case <-sent:
		case <-enough.C:
		}
		enough.Stop()
	}
	d.stopLeases()
	d.mu.Lock()
	d.closes++
	d.reports = nil
	if d.deferred {
		d.reportTimer.Stop()
		d.deferred = false
	}
	if d.reporting {
		d.stopReporting()
	}
	d.mu.Unlock()
	d.reporter.Wait() // may leave a link on which an answer is late
	d.mu.Lock()
	for l, extended := range d.late {
		if extended {
			l.close() // the awaiting goroutine then ends
		}
	}
	d.mu.Unlock()
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
		return min(minPatience, most) // a silent daemon must not delay every dial by the full time
	}
	return d.patience.wait(most, time.Now())
}

func (d *Daemon) resolveTimeout() time.Duration {
	if d.ResolveTimeout == 0 {
		return defaultResolveTimeout
	}
	return d.ResolveTimeout
}

// A question is a request to the daemon, with what is needed to wait for its answer.
type question struct {
	// request makes the message for a daemon with the features f.
	request func(f wire.Features) *wire.Message
	intents intent.Set
	// resolves tells whether a daemon with the features f looks up a name before it
	// answers, which may take long. If it is nil, no daemon does.
	resolves func(f wire.Features) bool
	key      *spareKey // says which later question a late answer may serve; nil: none
	// more are sent after request, in one piece with it, to a daemon that takes reports.
	// Their answers are read and dropped. They are few and short.
	more []*wire.Message
}

// answerer describes the daemon that gave an answer.
type answerer struct {
	features wire.Features
	page     *generation.Page // the page that it gave; nil: none
}

// ask sends q and decodes the answer into ans. An idle connection may have died, for
// instance by a restart of the daemon. ask then tries once more, on a new connection.
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
		more := q.more
		if f&wire.FeatureReports == 0 {
			more = nil
		}
		err = l.exchange(ctx, deadline, ans, req, more...)
		from := answerer{l.features, l.page}
		if err != nil && l.owed == 0 {
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
			return answerer{}, err // the resolver is slow, not the daemon, which has answered before
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

// done keeps or closes l after an exchange.
func (d *Daemon) done(ctx context.Context, l *link, err error) {
	if err != nil {
		d.giveUp(ctx, l, err)
	} else {
		d.succeeded(l)
	}
}

// limits are the times by which an answer must have come. soon holds for a daemon with
// extensions. patient, which is later, holds for an original daemon, because that one
// may resolve a name before it answers.
type limits struct{ soon, patient time.Time }

// limits returns by when the question q, which was asked at start, must be answered:
// at the latest after half of the time until the deadline of ctx.
func (d *Daemon) limits(ctx context.Context, q question, start time.Time) limits {
	wait := d.decisionTimeout(q.intents)
	l := limits{soon: start.Add(wait), patient: start.Add(max(wait, d.resolveTimeout()))}
	if end, ok := ctx.Deadline(); ok {
		// The other half is left for dialling plainly if no answer comes.
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

// forgetPatience forgets how quick the daemon was. It is called when a new daemon has
// been started, whose first answers may be slow.
func (d *Daemon) forgetPatience() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.patience = patience{}
}

// mayAsk tells why the daemon should not be asked now. After a back-off one request may
// try; the others wait until its result is known.
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

// link returns an idle connection to the daemon, or a new one. reused tells which. An
// original daemon, once known as such, gets more time for its hello.
func (d *Daemon) link(ctx context.Context, limits limits) (_ *link, reused bool, _ error) {
	d.mu.Lock()
	if n := len(d.idle); n > 0 {
		l := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		return l, true, nil
	}
	d.mu.Unlock()
	l, err := d.freshLink(ctx, limits)
	return l, false, err
}

// freshLink opens a connection to the daemon.
func (d *Daemon) freshLink(ctx context.Context, limits limits) (*link, error) {
	d.mu.Lock()
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
		return nil, err
	}
	l := newLink(nc, d.MaxLeases >= 0)
	d.owes(1)
	defer d.owes(-1)
	if err := l.hello(ctx, deadline); err != nil {
		d.giveUp(ctx, l, err)
		if isLate(err) && ctx.Err() == nil {
			d.setOriginal(false) // the daemon there may be a new one that hangs
		}
		return nil, err
	}
	d.setOriginal(l.features == 0)
	d.met(l)
	return l, nil
}

// met takes over the page that came with a new connection. If it belongs to another run
// of the daemon, all leases are void.
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

// timedLocked notes how long l's answer took. Answers that waited for a name server and
// answers of the original's daemon are left out, because they say nothing about how
// busy the daemon is.
func (d *Daemon) timedLocked(l *link) {
	if l.features == 0 || l.begun.IsZero() {
		return
	}
	now := time.Now()
	d.patience.answered(now.Sub(l.begun), now)
}

// failed notes that a question asked at start has failed, unless the caller gave up.
// Only two failures make the Daemon pause for long: no answer in time, and an answer
// without sense. If no daemon is there, the pause is short.
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
		return err // an earlier failure has already raised backoff for this outage
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
