package client

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// A driver runs a race. At first it runs in the caller's goroutine (solo.go), as long
// as there is a single task. After that one goroutine owns the race. Each task then
// runs in a goroutine of its own and hands its result to the owner.
type driver struct {
	race    race
	lookup  func(context.Context, *candidate) (*candidate, error)
	connect func(context.Context, *candidate, netip.AddrPort) (net.Conn, error)
	// deaf tells that connect may run on for a while after its context has ended, because
	// it calls a function that is not told of it. Attempts then never run in the caller's
	// goroutine, which would have to wait for them.
	deaf bool

	begun   time.Time
	results chan done
	over    chan outcome  // outcome of a race that continues in another goroutine
	closed  chan struct{} // closed at the end of the race; later connections are then closed by their makers
}

// done is a finished task with its result.
type done struct {
	result
	conn net.Conn // of an attempt that connected
	at   time.Time
}

// outcome is the result of a race.
type outcome struct {
	conn   net.Conn      // the first one, nil if there is none
	winner *candidate    // the candidate that connected
	waited time.Duration // from the start of the race, including failed lookups and attempts
	failed []Attempt     // the attempts that failed before
	err    error         // why there is no connection, if not because of the attempts
}

// run runs the race until something connects or everything has failed.
func (d *driver) run(ctx context.Context, candidates []*candidate) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.results, d.closed, d.over = make(chan done), make(chan struct{}), make(chan outcome, 1)
	d.begun = time.Now()
	d.race.enter(candidates)
	return d.solo(ctx, cancel)
}

// loop runs the race to its end. tasks and wake are what next has returned before.
func (d *driver) loop(ctx context.Context, tasks []*task, wake time.Time) outcome {
	defer close(d.closed)
	timer := time.NewTimer(time.Until(wake))
	defer timer.Stop()
	for set := wake; ; {
		for _, t := range tasks {
			go func() { d.handIn(d.do(ctx, t)) }()
		}
		switch {
		case d.race.running == 0:
			return d.lost(ctx)
		case wake.IsZero():
			timer.Stop()
		case !wake.Equal(set):
			timer.Reset(time.Until(wake))
		}
		set = wake
		select {
		case res := <-d.results:
			if d.race.event(res.result, res.at) {
				return d.won(res)
			}
		case <-timer.C:
			set = time.Time{}
		case <-ctx.Done():
			return d.lost(ctx)
		}
		if ctx.Err() != nil {
			return d.lost(ctx)
		}
		tasks, wake = d.race.next(time.Now())
	}
}

// do carries out a task.
func (d *driver) do(ctx context.Context, t *task) done {
	res := done{result: result{task: t}}
	if t.Remote.IsValid() {
		res.conn, res.err = d.connect(ctx, t.candidate, t.Remote)
	} else {
		res.found, res.err = d.lookup(ctx, t.candidate)
	}
	res.at = time.Now()
	return res
}

// handIn gives a result to the goroutine that owns the race. If the race is over,
// handIn closes the connection.
func (d *driver) handIn(res done) {
	select {
	case d.results <- res:
	case <-d.closed:
		if res.conn != nil {
			_ = res.conn.Close()
		}
	}
}

func (d *driver) won(res done) outcome {
	return outcome{conn: res.conn, winner: res.candidate, waited: res.at.Sub(d.begun), failed: d.race.failed}
}

// lost returns the outcome after everything has failed, or ctx has ended.
func (d *driver) lost(ctx context.Context) outcome {
	err := ctx.Err()
	d.race.giveUp(time.Now(), err)
	if err == nil && len(d.race.failed) == 0 {
		err = errNothing
	}
	return outcome{failed: d.race.failed, err: err}
}
