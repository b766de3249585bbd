package client

import (
	"context"
	"time"
)

// solo drives the race in the caller's goroutine for as long as one thing alone
// is under way. Nearly all races end with that; each goroutine less then saves the
// wake-up of a thread, some tens of microseconds on a busy host.
func (d *driver) solo(ctx context.Context, cancel context.CancelFunc) outcome {
	for ctx.Err() == nil {
		tasks, wake := d.race.next(time.Now())
		if len(tasks) != 1 || d.deaf && tasks[0].Remote.IsValid() {
			return d.loop(ctx, tasks, wake)
		}
		res, joined := d.beside(ctx, cancel, tasks[0], wake)
		switch {
		case joined:
			d.handIn(res)
			return <-d.over
		case ctx.Err() != nil && res.conn == nil:
			return d.lost(ctx) // and not for what became of the task by that
		case d.race.event(res.result, res.at):
			return d.won(res)
		}
	}
	return d.lost(ctx)
}

// beside does a task. If that takes until the race is to go on, the others join:
// a goroutine of its own drives the race then, which the result is to be handed in
// to, and whose end cancels the task.
func (d *driver) beside(ctx context.Context, cancel context.CancelFunc, t *task, wake time.Time) (res done, joined bool) {
	timer := time.AfterFunc(time.Until(wake), func() {
		var o outcome
		if ctx.Err() != nil {
			o = d.lost(ctx)
			close(d.closed)
		} else {
			tasks, wake := d.race.next(time.Now())
			o = d.loop(ctx, tasks, wake)
		}
		cancel()
		d.over <- o
	})
	res = d.do(ctx, t)
	return res, !timer.Stop()
}
