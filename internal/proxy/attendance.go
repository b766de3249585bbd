package proxy

import (
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// lateGrace is how long the manager may be late before that is said: a busy moment
// is nothing that an operator could do something about.
const lateGrace = time.Second

// attendance tells an operator when the manager goes and comes. It is safe for
// concurrent use.
type attendance struct {
	log *slog.Logger

	mu    sync.Mutex
	here  bool      // as was told last
	since time.Time // when it first was late, after it had answered; zero: it answers
}

// begin says whether the manager is here, which the caller has told.
func (a *attendance) begin(here bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.here, a.since = here, time.Time{}
}

// present tells whether the manager is here, as was said last.
func (a *attendance) present() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.here
}

// note takes how a question to the manager ended.
func (a *attendance) note(err error, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.since = time.Time{}
		if !a.here {
			a.here = true
			a.log.Info("the Multi Access Manager chooses the network now")
		}
		return
	}
	if a.since.IsZero() {
		a.since = now
	}
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	if a.here && (gone || now.Sub(a.since) >= lateGrace) {
		a.here = false
		a.log.Warn("the Multi Access Manager is not there: the host's routes choose the network", "err", err)
	}
}
