package client

import (
	"context"
	"time"
)

// solo lets the best candidate run for as long as it is alone, in the caller's
// goroutine. Nearly all races end with that; each goroutine less then saves the
// wake-up of a thread, some tens of microseconds on a busy host. It tells
// whether the race has ended; if not, loop is to go on.
func (r *race) solo(ctx context.Context, cancel context.CancelFunc) (_ outcome, ended bool) {
	if len(r.runners) == 0 {
		return outcome{}, false
	}
	first := r.runners[0]
	if len(first.addrs) > 0 {
		first.state = ready
	} else {
		res, joined := r.beside(ctx, cancel, r.pace.lookup(first.candidate), r.asking(ctx, first))
		if joined {
			return r.join(res), true
		}
		r.running--
		if ctx.Err() != nil {
			return outcome{}, false
		}
		r.take(res)
	}
	if r.deaf || !first.more(r.started) {
		return outcome{}, false
	}
	res, joined := r.beside(ctx, cancel, r.pace.attempt(first.candidate), r.connecting(ctx, first))
	switch {
	case joined:
		return r.join(res), true
	case res.conn != nil:
		return outcome{conn: res.conn, winner: first.candidate, took: res.took, failed: r.failed}, true
	}
	r.running--
	if ctx.Err() != nil {
		res.err = ctx.Err() // and not what became of it by that
	}
	r.take(res)
	return outcome{}, false
}

// beside does f. If that takes longer than delay, the others join: the race goes
// on in a goroutine of its own, which the result is to be handed in to, and whose
// end cancels f.
func (r *race) beside(ctx context.Context, cancel context.CancelFunc, delay time.Duration, f func() result) (res result, joined bool) {
	t := time.AfterFunc(delay, func() {
		r.due = true
		o := r.loop(ctx)
		cancel()
		r.over <- o
	})
	res = f()
	return res, !t.Stop()
}

// join hands in the first runner's result and returns how the race ended.
func (r *race) join(res result) outcome {
	r.handIn(res)
	return <-r.over
}
