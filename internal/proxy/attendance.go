package proxy

import (
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// lateGrace is how long the manager may be late before the log says so. An operator can
// do nothing about a busy moment.
const lateGrace = time.Second

// attendance logs when the manager goes away and comes back. It is safe for concurrent
// use.
type attendance struct {
	log *slog.Logger

	mu    sync.Mutex
	here  bool      // as last logged
	since time.Time // when it first was late after an answer; zero: it answers
}

// begin sets whether the manager is here. The caller has already logged it.
func (a *attendance) begin(here bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.here, a.since = here, time.Time{}
}

// present tells whether the manager is here, as last logged.
func (a *attendance) present() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.here
}

// note takes the result of a question to the manager.
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
