package client

import (
	"context"
	"errors"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// The original's resolver gives up after three tries of 5 s for each of at
	// most three name servers. What is not answered long after that never is: some
	// of its policies answer nothing to what they cannot do.
	lateWaitOriginal = 10 * time.Minute

	// A daemon with extensions has a dead name server behind it by then.
	lateWait = 10 * time.Second

	// With so many answers outstanding, the daemon is asked nothing more.
	maxLate = 32
	// Requests that were under way at once can be given up at once. The original
	// serves no more connections than this.
	maxLateAtOnce = 1024
)

var errLate = errors.New("has not answered earlier requests yet")

// giveUp takes l after an exchange for ctx that failed with err.
//
// The original, on which every program of the host depends, must not find the
// connection closed when it answers: the answer is waited for in the background,
// and then l is used again. A daemon with extensions ends what it does for a
// connection that is closed, so l is kept only to save a busy one a connection for
// each late answer.
func (d *Daemon) giveUp(ctx context.Context, l *link, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	extended := l.features != 0
	waiting := d.waitingLocked()
	switch {
	case !l.asked || !isLate(err),
		extended && (ctx.Err() != nil || len(d.late)-waiting >= maxIdleLinks),
		!extended && waiting >= maxLateAtOnce:
		l.close()
		return
	}
	if d.late == nil {
		d.late = map[*link]bool{}
	}
	d.late[l] = extended
	closes := d.closes
	if extended {
		d.reading.Go(func() { d.awaitLate(l, closes, lateWait) })
		return
	}
	go d.awaitLate(l, closes, lateWaitOriginal)
}

// waitingLocked counts the late answers of daemons that are not known to have
// extensions.
func (d *Daemon) waitingLocked() (n int) {
	for _, extended := range d.late {
		if !extended {
			n++
		}
	}
	return n
}

// awaitLate reads the answer that nobody waits for any more. Closes is how often d
// was closed before.
func (d *Daemon) awaitLate(l *link, closes int, wait time.Duration) {
	met := l.met
	_ = l.nc.SetReadDeadline(time.Now().Add(wait))
	var ans wire.Message
	err := l.receive(&ans)
	_ = l.nc.SetReadDeadline(time.Time{})
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.late, l)
	if err == nil && l.features != 0 {
		d.cameLate(l, &ans, d.closes == closes)
	}
	if err == nil && !met && l.features == 0 {
		// It was given the time of a daemon with extensions. Now it is known.
		d.original, d.backoff = true, 0
	}
	if err != nil || d.closes != closes {
		l.close()
		return
	}
	d.keepLocked(l)
}

// cameLate takes the late answer of a daemon with extensions: it shows how long to
// wait, and serves the next dial of the same kind. A daemon that is merely slow is
// asked again at once.
func (d *Daemon) cameLate(l *link, ans *wire.Message, open bool) {
	d.timedLocked(l)
	now := time.Now()
	if l.begun.IsZero() || now.Sub(l.begun) > maxPatience {
		return
	}
	d.backoff = 0
	if !open {
		return
	}
	if l.key != nil {
		d.keepSpareLocked(*l.key, spare{ans, l.features, now})
	}
	d.tellLocked()
}

// keepLocked keeps l for the next request. It is closed if it is of no more use.
func (d *Daemon) keepLocked(l *link) {
	if l.broken || len(d.idle) >= maxIdleLinks {
		l.close()
		return
	}
	d.idle = append(d.idle, l)
}
