package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

var errNothing = errors.New("nothing to try")

// A race tries candidates until one connects. It begins with the best one alone
// (solo.go). Then one goroutine owns it; attempts and lookups run in their own
// and hand in their results.
//
// At each turn one attempt starts: the next address of the candidate that has
// been tried least, the best ranked one first. A candidate's name is looked up
// when its turn comes, not before, so that the resolver of a network that is
// not needed is not asked. Turns come with the attempt delay, or at once when
// something failed; after a failure the same candidate's next address is up,
// because it rather is the address that does not answer.
//
// A resolver that lets its delay pass makes the name be looked up by all the
// other candidates at once, and whichever is answered connects: the next best
// one may well depend on the same resolver, as the IPv6 prefix of a network does
// beside its IPv4 prefix, so that going on one by one would add up their delays.
type race struct {
	lookup  func(context.Context, *candidate) (*candidate, error)
	connect func(context.Context, *candidate, netip.AddrPort) (net.Conn, error)
	pace    pace // between two attempts
	// A worse candidate whose addresses are there waits this long for those of a
	// better one.
	resolutionDelay time.Duration
	// connect may be deaf to the end of its context, for a while.
	deaf bool

	runners   []*runner // best first
	results   chan result
	over      chan outcome  // of a race that goes on beside its first runner
	done      chan struct{} // closed when the race is over: losers close what they made
	running   int           // attempts and lookups under way
	due       bool          // an attempt may start
	waited    bool          // the resolution delay has passed
	alone     bool          // the last resort may start beside others
	prefer    *runner       // whose turn it is after a failure
	timer     *time.Timer   // the next turn
	grace     *time.Timer   // the resolution delay
	lastArmed bool          // timer is that of the last resort
	started   map[start]bool
	live      []*attempt
	failed    []Attempt
}

// attempt is a connection that is under way.
type attempt struct {
	Attempt
	begun time.Time
}

type runnerState int

const (
	idle runnerState = iota
	resolving
	ready
	out // not resolved
)

// runner is a candidate in a race.
type runner struct {
	*candidate
	state runnerState
	asked time.Time // when its lookup began
	next  int       // index of its next address
}

// result is what a lookup or an attempt ended with.
type result struct {
	r         *runner
	candidate *candidate // of a lookup
	attempt   *attempt   // nil for a lookup
	conn      net.Conn
	took      time.Duration
	err       error
}

// start is what makes two attempts the same.
type start struct {
	local  netip.Addr
	device string
	remote netip.AddrPort
}

// outcome is what a race ended with.
type outcome struct {
	conn   net.Conn   // the first one, nil if there is none
	winner *candidate // that made it
	took   time.Duration
	failed []Attempt // until then
	err    error     // why there is no connection, if it is not the attempts' fault
}

// run runs the race until something connects or everything has failed.
func (r *race) run(ctx context.Context, candidates []*candidate) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.results, r.done, r.over = make(chan result), make(chan struct{}), make(chan outcome, 1)
	r.started = make(map[start]bool)
	for _, c := range candidates {
		r.runners = append(r.runners, &runner{candidate: c})
	}
	r.due = true
	if o, ended := r.solo(ctx, cancel); ended {
		return o
	}
	return r.loop(ctx)
}

// loop runs what is left of the race.
func (r *race) loop(ctx context.Context) outcome {
	defer close(r.done)
	r.timer, r.grace = stoppedTimer(), stoppedTimer()
	defer r.timer.Stop()
	defer r.grace.Stop()
	for {
		r.advance(ctx)
		if r.running == 0 {
			err := ctx.Err()
			if err == nil && len(r.failed) == 0 {
				err = errNothing
			}
			return outcome{failed: r.failed, err: err}
		}
		select {
		case res := <-r.results:
			r.running--
			if res.conn != nil {
				return outcome{conn: res.conn, winner: res.r.candidate, took: res.took, failed: r.failed}
			}
			r.take(res)
		case <-r.timer.C:
			r.due, r.alone, r.lastArmed = true, r.lastArmed, false
		case <-r.grace.C:
			r.waited = true
		case <-ctx.Done():
			for _, a := range r.live {
				a.Duration, a.Err = time.Since(a.begun), ctx.Err()
				r.failed = append(r.failed, a.Attempt)
			}
			return outcome{failed: r.failed, err: ctx.Err()}
		}
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// take notes the result of a lookup, or of an attempt that failed.
func (r *race) take(res result) {
	a := res.attempt
	switch {
	case a != nil:
		r.live = slices.DeleteFunc(r.live, func(l *attempt) bool { return l == a })
		r.prefer = res.r
	case res.err != nil:
		a = newAttempt(res.r.candidate, netip.AddrPort{})
		res.r.state = out
	default:
		res.r.candidate, res.r.state = res.candidate, ready
		return
	}
	a.Duration, a.Err = res.took, res.err
	r.failed = append(r.failed, a.Attempt)
	r.due = true
}

func newAttempt(c *candidate, remote netip.AddrPort) *attempt {
	return &attempt{Attempt{Candidate: c.index, Source: c.local, Device: c.device, Remote: remote}, time.Now()}
}

// advance starts what is due.
func (r *race) advance(ctx context.Context) {
	for r.due && ctx.Err() == nil {
		if next := r.pick(); next != nil {
			if !r.waited && r.betterResolves(next) {
				r.grace.Reset(r.resolutionDelay)
				return
			}
			r.try(ctx, next)
			continue
		}
		next := r.nextIdle()
		if next == nil {
			return
		}
		if next.index == plain && r.running > 0 && !r.alone {
			// The turn stays due, for a lookup that is answered meanwhile.
			if !r.lastArmed {
				r.arm(r.pace.lastResort(), true)
			}
			return
		}
		late := slices.ContainsFunc(r.runners, r.late)
		r.look(ctx, next)
		r.arm(r.pace.lookup(next.candidate), false)
		known := next.state == ready
		for _, c := range r.runners {
			if late && c.state == idle && c.index != plain {
				r.look(ctx, c)
				known = known || c.state == ready
			}
		}
		if !known {
			return
		}
	}
}

// late tells that the lookup of c takes longer than is waited for.
func (r *race) late(c *runner) bool {
	return c.state == resolving && time.Since(c.asked) >= r.pace.lookup(c.candidate)
}

// arm sets the next turn, or that of the last resort.
func (r *race) arm(d time.Duration, last bool) {
	r.lastArmed = last
	r.timer.Reset(d)
}

// pick returns the runner whose next address is to be tried.
func (r *race) pick() *runner {
	if p := r.prefer; p != nil {
		r.prefer = nil
		if p.more(r.started) {
			return p
		}
	}
	var best *runner
	for _, c := range r.runners {
		if c.more(r.started) && (best == nil || c.next < best.next) {
			best = c
		}
	}
	// A candidate that was not looked up yet has been tried least of all.
	if best != nil && best.next > 0 && r.nextIdle() != nil && !r.onlyLastResort() {
		return nil
	}
	return best
}

// more tells whether a runner has an address left that was not tried in the same
// way before, and skips those that were.
func (c *runner) more(started map[start]bool) bool {
	if c.state != ready {
		return false
	}
	for c.next < len(c.addrs) && started[start{c.local, c.device, c.addrs[c.next]}] {
		c.next++
	}
	return c.next < len(c.addrs)
}

// betterResolves tells that a lookup for a better candidate than c may be
// answered any moment.
func (r *race) betterResolves(c *runner) bool {
	for _, b := range r.runners {
		if b == c {
			break
		}
		if b.state == resolving && !r.late(b) {
			return true
		}
	}
	return false
}

func (r *race) nextIdle() *runner {
	for _, c := range r.runners {
		if c.state == idle {
			return c
		}
	}
	return nil
}

// onlyLastResort tells that the plain candidate alone was not looked at yet.
func (r *race) onlyLastResort() bool {
	c := r.nextIdle()
	return c != nil && c.index == plain
}

// look starts a lookup, unless the addresses are there.
func (r *race) look(ctx context.Context, c *runner) {
	if len(c.addrs) > 0 {
		c.state = ready
		return
	}
	ask := r.asking(ctx, c)
	go func() { r.handIn(ask()) }()
}

// asking notes the lookup that it returns.
func (r *race) asking(ctx context.Context, c *runner) func() result {
	c.state, c.asked = resolving, time.Now()
	r.running++
	cand, asked := c.candidate, c.asked
	return func() result {
		found, err := r.lookup(ctx, cand)
		return result{r: c, candidate: found, took: time.Since(asked), err: err}
	}
}

// try starts a connection.
func (r *race) try(ctx context.Context, c *runner) {
	connect := r.connecting(ctx, c)
	r.arm(r.pace.attempt(c.candidate), false)
	go func() { r.handIn(connect()) }()
}

// connecting notes the connection attempt that it returns.
func (r *race) connecting(ctx context.Context, c *runner) func() result {
	cand, a := c.candidate, newAttempt(c.candidate, c.addrs[c.next])
	c.next++
	r.started[start{a.Source, a.Device, a.Remote}] = true
	r.live = append(r.live, a)
	r.due = false
	r.running++
	return func() result {
		conn, err := r.connect(ctx, cand, a.Remote)
		return result{r: c, attempt: a, conn: conn, took: time.Since(a.begun), err: err}
	}
}

// handIn gives a result to the goroutine that owns the race. Losers close what
// they made.
func (r *race) handIn(res result) {
	select {
	case r.results <- res:
	case <-r.done:
		if res.conn != nil {
			_ = res.conn.Close()
		}
	}
}
