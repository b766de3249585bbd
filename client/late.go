package client

import (
	"context"
	"errors"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// lateWaitOriginal is how long to wait for a late answer of the original's daemon.
	// That daemon's resolver tries up to three name servers, three times for 5 s each.
	// An answer that is missing long after that never comes: some of the original's
	// policies do not answer requests that they cannot serve.
	lateWaitOriginal = 10 * time.Minute

	// lateWait is how long to wait for a late answer of a daemon with extensions. Such
	// a daemon has given up on a silent name server by then.
	lateWait = 10 * time.Second

	// maxLate bounds the late answers of daemons that are not known to have extensions.
	// While so many are outstanding, the daemon is not asked.
	maxLate = 32
	// maxLateAtOnce bounds how many of these answers are waited for. They can be more than
	// maxLate if many requests are given up at the same moment. The original's daemon
	// serves no more connections than this.
	maxLateAtOnce = 1024
)

var errLate = errors.New("has not answered earlier requests yet")

// giveUp closes l, or keeps it to read its late answer, after an exchange for ctx that
// failed with err. It closes l if nothing is owed, if err is no time-out, or if too many
// answers are waited for already, and that of a daemon with extensions also if ctx has ended.
//
// Every program of the host depends on the original's daemon, which must not find the
// connection closed when it answers. So giveUp waits for its answer in the background,
// and uses l again after that. A daemon with extensions copes with a closed connection:
// it stops working for it. giveUp still keeps such an l, so that a busy daemon need not
// accept a new connection after each late answer.
func (d *Daemon) giveUp(ctx context.Context, l *link, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	extended := l.features != 0
	waiting := d.waitingLocked()
	switch {
	case l.owed == 0 || !isLate(err),
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

// waitingLocked counts the late answers that are owed by daemons not known to have
// extensions.
func (d *Daemon) waitingLocked() (n int) {
	for _, extended := range d.late {
		if !extended {
			n++
		}
	}
	return n
}

// owes adds n to the number of exchanges in which a daemon that is not known to have
// extensions owes an answer.
// n may be negative.
func (d *Daemon) owes(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owing += n
	d.settleLocked()
}

// settleLocked wakes those who wait until an original daemon owes no answer any more.
func (d *Daemon) settleLocked() {
	if d.settled != nil && d.owing+d.waitingLocked() == 0 {
		close(d.settled)
		d.settled = nil
	}
}

// settledLocked returns a channel that is closed when an original daemon owes no answer
// any more. The channel is nil if no answer is owed.
func (d *Daemon) settledLocked() <-chan struct{} {
	if d.settled == nil && d.owing+d.waitingLocked() > 0 {
		d.settled = make(chan struct{})
	}
	return d.settled
}

// awaitLate reads the answers to requests that were given up, and then keeps l for
// further requests. closes is the value of d.closes at the time of the request. If d
// was closed since, awaitLate closes l.
func (d *Daemon) awaitLate(l *link, closes int, wait time.Duration) {
	met := l.met
	_ = l.nc.SetReadDeadline(time.Now().Add(wait))
	var ans wire.Message
	err := l.receiveAll(&ans)
	_ = l.nc.SetReadDeadline(time.Time{})
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.late, l)
	d.settleLocked()
	if err == nil && l.features != 0 {
		d.cameLate(l, &ans, d.closes == closes)
	}
	if err == nil && !met && l.features == 0 {
		// The request that failed waited only as long as for a daemon with extensions. The
		// answer shows that the daemon is the original's.
		d.original, d.backoff = true, 0
	}
	if err != nil || d.closes != closes {
		l.close()
		return
	}
	d.keepLocked(l)
}

// cameLate uses the late answer of a daemon with extensions in three ways. It shows how
// long to wait for answers from now on. It serves the next dial of the same kind. And
// it shows that the daemon is merely slow, so that the daemon may be asked again.
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

// keepLocked keeps l for the next request, or closes l if it is broken or there are
// enough already.
func (d *Daemon) keepLocked(l *link) {
	if l.broken || len(d.idle) >= maxIdleLinks {
		l.close()
		return
	}
	d.idle = append(d.idle, l)
}
