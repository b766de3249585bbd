package client

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Defaults of a Daemon's settings.
const (
	// A decision takes well below a millisecond; what takes 50 ms is stuck, and
	// people begin to notice.
	defaultDecisionTimeout = 50 * time.Millisecond
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
	wire.FeaturePaths | wire.FeatureOrigin

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
	// plainly, opening the connection to the daemon included; 0 means 50 ms,
	// and a negative value never to ask. Of a dial that has less time, it takes
	// half.
	//
	// A daemon that let it pass is not asked again for a while: 100 ms first, a
	// minute at last. A daemon that is not there is looked for again after
	// 5 ms.
	//
	// The original daemon serves one request after the other and measures in
	// between, so it has ResolveTimeout for every answer once it is known.
	DecisionTimeout time.Duration

	// ResolveTimeout is how long to wait for a name to be resolved; 0 means 10 s.
	ResolveTimeout time.Duration

	connect func(context.Context) (net.Conn, error) // replaced by tests; nil: dialDaemon

	mu        sync.Mutex
	idle      []*link // most recently used last
	notBefore time.Time
	// lastFailure is when backoff was last raised.
	lastFailure time.Time
	backoff     time.Duration // 0: the daemon is well
	outage      bool          // was announced by firstFailure
	absence     error         // why the daemon was not there when it was last looked for
	lookAgain   time.Time
	original    bool           // no extensions, when it last answered
	late        map[*link]bool // wait for answers that nobody wants any more; true: of a daemon with extensions
	closes      int            // how often Close was called
	reports     []*wire.Message
	reportTimer *time.Timer // nil: none was deferred yet
	deferred    bool        // reportTimer runs
	reporting   bool
	reporter    sync.WaitGroup
	reading     sync.WaitGroup // of late answers of daemons with extensions
}

// Reasons not to ask the daemon.
var (
	errDisabled   = errors.New("asking is switched off")
	errBackingOff = errors.New("did not answer in time a moment ago")
	errForeignID  = errors.New("answer for another connection")
)

// Close closes the idle connections to the daemon and drops reports that were
// not sent yet. A connection on which the original daemon still owes an answer is
// closed when that came, ten minutes later at most. The Daemon can still be used.
func (d *Daemon) Close() error {
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

func (d *Daemon) decisionTimeout() time.Duration {
	if d.DecisionTimeout == 0 {
		return defaultDecisionTimeout
	}
	return d.DecisionTimeout
}

func (d *Daemon) resolveTimeout() time.Duration {
	if d.ResolveTimeout == 0 {
		return defaultResolveTimeout
	}
	return d.ResolveTimeout
}

// A question makes the request for a daemon with the features f, and says how
// long its answer may take.
type question func(f wire.Features) (req *wire.Message, wait time.Duration)

// ask puts q and decodes the answer into ans. If a connection turns out to have
// died while it was idle, as after a restart of the daemon, it asks once more on
// a new one.
func (d *Daemon) ask(ctx context.Context, q question, ans *wire.Message) (wire.Features, error) {
	start := time.Now()
	if err := d.mayAsk(start); err != nil {
		return 0, err
	}
	soon := start.Add(d.decisionTimeout())
	patient := start.Add(max(d.decisionTimeout(), d.resolveTimeout()))
	if end, ok := ctx.Deadline(); ok {
		// Leave the caller time to go on without us.
		half := start.Add(end.Sub(start) / 2)
		if half.Before(soon) {
			soon = half
		}
		if half.Before(patient) {
			patient = half
		}
	}
	for {
		l, reused, err := d.link(ctx, soon, patient)
		if err != nil {
			return 0, d.failed(ctx, err)
		}
		f := l.features
		req, wait := q(f)
		deadline := soon
		switch {
		case f == 0:
			deadline = patient
		case wait > d.decisionTimeout():
			deadline = start.Add(wait)
		}
		err = l.exchange(ctx, deadline, req, ans)
		if err == nil {
			f = l.features
			d.succeeded(l)
			return f, nil
		}
		d.giveUp(ctx, l, err)
		if f&wire.FeatureNoResolve != 0 && wait > d.decisionTimeout() && errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err // a slow resolver; the daemon itself has answered before
		}
		var bad *wire.Error
		if !reused || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &bad) {
			return 0, d.failed(ctx, err)
		}
		d.dropIdle()
	}
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

// link returns a connection to the daemon, an idle one if there is. The daemon has
// time until patient to say what it is if it is known as the original, else until
// soon.
func (d *Daemon) link(ctx context.Context, soon, patient time.Time) (_ *link, reused bool, _ error) {
	d.mu.Lock()
	if n := len(d.idle); n > 0 {
		l := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		return l, true, nil
	}
	deadline := soon
	if d.original {
		deadline = patient
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
	l := &link{nc: nc, reader: wire.NewReader(nc)}
	if err := l.hello(ctx, deadline); err != nil {
		d.giveUp(ctx, l, err)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			d.setOriginal(false) // another one may be there now, which hangs
		}
		return nil, false, err
	}
	d.setOriginal(l.features == 0)
	return l, false, nil
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
	d.keepLocked(l)
}

// failed notes that the daemon failed, unless the caller gave up. Only waiting
// for nothing, and nonsense, make a reason to leave it alone for a while, and
// that it is not there for a moment.
func (d *Daemon) failed(ctx context.Context, err error) error {
	var bad *wire.Error
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	timeout := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	if ctx.Err() != nil || !absent && !timeout && !errors.As(err, &bad) && !errors.Is(err, errForeignID) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if absent {
		d.absence, d.lookAgain = err, now.Add(lookEvery)
		return err
	}
	if d.backoff > 0 && now.Sub(d.lastFailure) < d.decisionTimeout() {
		return err // it was asked at the same time as another one, and has seen the same outage
	}
	d.lastFailure = now
	d.backoff = min(max(2*d.backoff, firstBackoff), maxBackoff)
	d.notBefore = now.Add(d.backoff)
	return err
}

// firstFailure tells whether this is the first dial without the daemon since it
// was last well.
func (d *Daemon) firstFailure() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.outage
	d.outage = true
	return first
}

func (d *Daemon) dropIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.idle {
		l.close()
	}
	d.idle = nil
}
