package client

import (
	"context"
	"errors"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// lateWaitOriginal is how long a late answer of the original prototype's daemon is
	// waited for. Its resolver gives up after three tries of 5 s for each of at most
	// three name servers. An answer that is not there long after that never comes: some
	// of its policies do not answer requests that they cannot serve.
	lateWaitOriginal = 10 * time.Minute

	// lateWait is the same for a daemon with extensions. By then it has given up on a
	// name server that does not answer.
	lateWait = 10 * time.Second

	// maxLate is how many late answers may be outstanding before the daemon is asked
	// nothing more.
	maxLate = 32
	// maxLateAtOnce bounds the answers that are waited for: many requests that were
	// under way together may all be given up together. The original's daemon serves no
	// more connections than this.
	maxLateAtOnce = 1024
)

var errLate = errors.New("has not answered earlier requests yet")

// giveUp decides what becomes of l after an exchange for ctx that failed with err.
//
// The original prototype's daemon, on which every program of the host depends, must
// not find the connection closed when it answers. So the answer is waited for in the
// background, and then l is used again. A daemon with extensions copes with a closed
// connection: it stops working for that. There, l is kept only so that a busy daemon
// need not accept a new connection after each late answer.
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

// owes notes n exchanges more, or less, in which an original daemon owes an answer.
func (d *Daemon) owes(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owing += n
	d.settleLocked()
}

// settleLocked tells those who wait when an original daemon owes no answer any more.
func (d *Daemon) settleLocked() {
	if d.settled != nil && d.owing+d.waitingLocked() == 0 {
		close(d.settled)
		d.settled = nil
	}
}

// settledLocked is closed when an original daemon owes no answer any more; nil if it owes
// none.
func (d *Daemon) settledLocked() <-chan struct{} {
	if d.settled == nil && d.owing+d.waitingLocked() > 0 {
		d.settled = make(chan struct{})
	}
	return d.settled
}

// awaitLate reads an answer whose request was given up, and then keeps l for further
// requests. closes is d.closes at the time of the request: if d was closed since, l is
// closed instead.
func (d *Daemon) awaitLate(l *link, closes int, wait time.Duration) {
	met := l.met
	_ = l.nc.SetReadDeadline(time.Now().Add(wait))
	var ans wire.Message
	err := l.receive(&ans)
	_ = l.nc.SetReadDeadline(time.Time{})
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.late, l)
	d.settleLocked()
	if err == nil && l.features != 0 {
		d.cameLate(l, &ans, d.closes == closes)
	}
	if err == nil && !met && l.features == 0 {
		// The daemon had been given the time of one with extensions. Its answer shows that
		// it is the original.
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
