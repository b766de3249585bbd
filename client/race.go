package client

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

var errNothing = errors.New("nothing to try")

// A race decides which candidate is looked up and which address is tried next, until
// one connects. It only decides. A driver (driver.go, solo.go) carries out the tasks
// that next returns, and hands their results to event. The driver has the clock, too,
// so that a test can play a race without waiting.
//
// At each turn one attempt starts. It is for the candidate with the fewest attempts so
// far, among these for the best ranked, and goes to its next address. A candidate's
// name is looked up when its turn comes and not before, so that resolvers of unneeded
// networks are not asked. The next turn comes after the attempt delay, or at once when
// something has failed. After a failure the same candidate gets the turn with its next
// address, because a failure more often lies at the address than at the network.
//
// If a resolver takes longer than its delay, all other candidates are looked up at
// once, and the first one answered connects. One by one would not do: the next best
// candidate may depend on the same slow resolver, as the IPv6 prefix of a network does
// beside its IPv4 prefix, and the delays would add up.
type race struct {
	pace pace // delays between attempts
	// resolutionDelay is how long a worse candidate with addresses waits for the
	// addresses of a better one.
	resolutionDelay time.Duration

	runners   []*runner // best first
	running   int       // number of tasks under way
	due       bool      // an attempt may start
	waited    bool      // the resolution delay has passed
	alone     bool      // the last resort may start beside other attempts
	prefer    *runner   // gets the turn after a failure
	turn      time.Time // when the next turn is; zero: after the next event
	grace     time.Time // end of the resolution delay; zero: none is running
	lastArmed bool      // turn is meant for the last resort
	tried     map[start]bool
	live      []*task // attempts under way
	failed    []Attempt
	tasks     []*task // what the running call of next will return
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

// task is one thing that the driver must do. It is to connect from a candidate to
// Remote or, if Remote is invalid, to look up the candidate's name.
type task struct {
	Attempt
	runner    *runner
	candidate *candidate // as of when the task was given out; event may replace the runner's
	begun     time.Time
}

// result is the result of a task. A lookup results in a candidate with addresses.
type result struct {
	*task
	found *candidate
	err   error
}

// start identifies an attempt: two attempts with the same start are the same.
type start struct {
	local  netip.Addr
	device string
	remote netip.AddrPort
}

// enter starts a race of candidates, which are sorted best first.
func (r *race) enter(candidates []*candidate) {
	r.tried = make(map[start]bool)
	for _, c := range candidates {
		r.runners = append(r.runners, &runner{candidate: c})
	}
	r.due = true
}

// next returns the tasks that are due, and the time at which to call it again at the
// latest (zero: after the next event). The driver calls next at the beginning, after
// each event that did not end the race, and at that time. If no task is running after a
// call, the race is lost. The next call overwrites the tasks.
func (r *race) next(now time.Time) (tasks []*task, wake time.Time) {
	if !r.turn.IsZero() && !now.Before(r.turn) {
		r.due, r.alone, r.lastArmed, r.turn = true, r.lastArmed, false, time.Time{}
	}
	if !r.grace.IsZero() && !now.Before(r.grace) {
		r.waited, r.grace = true, time.Time{}
	}
	r.tasks = r.tasks[:0]
	r.advance(now)
	wake = r.turn
	if wake.IsZero() || !r.grace.IsZero() && r.grace.Before(wake) {
		wake = r.grace
	}
	return r.tasks, wake
}

// event takes the result of a task, and tells whether that wins the race.
func (r *race) event(res result, now time.Time) (won bool) {
	t := res.task
	r.running--
	attempt := t.Remote.IsValid()
	if attempt {
		r.live = slices.DeleteFunc(r.live, func(l *task) bool { return l == t })
	}
	switch {
	case attempt && res.err == nil:
		return true
	case attempt:
		r.prefer = t.runner
	case res.err == nil:
		t.runner.candidate, t.runner.state = res.found, ready
		return false
	default:
		t.runner.state = out
	}
	r.fail(t, now, res.err)
	r.due = true
	return false
}

// giveUp ends the race. The attempts under way count as failed with err.
func (r *race) giveUp(now time.Time, err error) {
	for _, t := range r.live {
		r.fail(t, now, err)
	}
	r.live = nil
}

func (r *race) fail(t *task, now time.Time, err error) {
	t.Duration, t.Err = now.Sub(t.begun), err
	r.failed = append(r.failed, t.Attempt)
}

// advance starts the tasks that are due.
func (r *race) advance(now time.Time) {
	for r.due {
		if next := r.pick(); next != nil {
			if !r.waited && r.betterResolves(next, now) {
				r.grace = now.Add(r.resolutionDelay)
				return
			}
			r.try(next, now)
			continue
		}
		next := r.nextIdle()
		if next == nil {
			return
		}
		if next.index == plain && r.running > 0 && !r.alone {
			// No candidate can use the turn. It stays due until a lookup brings
			// addresses.
			if !r.lastArmed {
				r.arm(now, r.pace.lastResort(), true)
			}
			return
		}
		late := slices.ContainsFunc(r.runners, func(c *runner) bool { return r.late(c, now) })
		r.look(next, now)
		r.arm(now, r.pace.lookup(next.candidate), false)
		known := next.state == ready
		for _, c := range r.runners {
			if late && c.state == idle && c.index != plain {
				r.look(c, now)
				known = known || c.state == ready
			}
		}
		if !known {
			return
		}
	}
}

// late tells whether the lookup of c takes longer than its delay.
func (r *race) late(c *runner, now time.Time) bool {
	return c.state == resolving && now.Sub(c.asked) >= r.pace.lookup(c.candidate)
}

// arm sets the time of the next turn or, with last, that of the last resort.
func (r *race) arm(now time.Time, d time.Duration, last bool) {
	r.turn, r.lastArmed = now.Add(d), last
}

// pick returns the runner whose next address is to be tried.
func (r *race) pick() *runner {
	if p := r.prefer; p != nil {
		r.prefer = nil
		if p.more(r.tried) {
			return p
		}
	}
	var best *runner
	for _, c := range r.runners {
		if c.more(r.tried) && (best == nil || c.next < best.next) {
			best = c
		}
	}
	// A candidate that was not looked up yet counts as the least tried.
	if best != nil && best.next > 0 && r.nextIdle() != nil && !r.onlyLastResort() {
		return nil
	}
	return best
}

// more tells whether a runner has an address left to try. It skips addresses that were
// tried from the same source already.
func (c *runner) more(tried map[start]bool) bool {
	if c.state != ready {
		return false
	}
	for c.next < len(c.addrs) && tried[start{c.local, c.device, c.addrs[c.next]}] {
		c.next++
	}
	return c.next < len(c.addrs)
}

// betterResolves tells whether the lookup of a better candidate than c may be answered
// any moment.
func (r *race) betterResolves(c *runner, now time.Time) bool {
	for _, b := range r.runners {
		if b == c {
			break
		}
		if b.state == resolving && !r.late(b, now) {
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

// onlyLastResort tells whether all candidates but the plain one were looked up.
func (r *race) onlyLastResort() bool {
	c := r.nextIdle()
	return c != nil && c.index == plain
}

// look gives out a lookup, unless the addresses are known.
func (r *race) look(c *runner, now time.Time) {
	if len(c.addrs) > 0 {
		c.state = ready
		return
	}
	c.state, c.asked = resolving, now
	r.give(c, netip.AddrPort{}, now)
}

// try gives out a connection attempt.
func (r *race) try(c *runner, now time.Time) {
	remote := c.addrs[c.next]
	c.next++
	r.tried[start{c.local, c.device, remote}] = true
	r.live = append(r.live, r.give(c, remote, now))
	r.due = false
	r.arm(now, r.pace.attempt(c.candidate), false)
}

func (r *race) give(c *runner, remote netip.AddrPort, now time.Time) *task {
	t := &task{
		Attempt: Attempt{Candidate: c.index, Source: c.local, Device: c.device, Remote: remote},
		runner:  c, candidate: c.candidate, begun: now,
	}
	r.running++
	r.tasks = append(r.tasks, t)
	return t
}
