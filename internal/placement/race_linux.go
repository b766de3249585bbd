package placement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

const (
	// raceDelay is how long a connection waits for an answer before other networks are
	// tried. On nearly every network an answer takes less: the kernel, too, sends the SYN
	// again then (RFC 6298 section 2.1). client.Dialer waits for less time, as
	// it knows the round-trip time of the network.
	raceDelay = synRetransmission
	// raceStep is the time between the beginnings of two attempts over other networks
	// (RFC 8305 section 8).
	raceStep = 250 * time.Millisecond
	// maxRaces bounds the races that are under way at the same time.
	maxRaces = 64
)

// others returns the endpoints from which the same destination could be tried over the
// manager's other networks.
func (a *attempt) others() (list []client.Endpoint) {
	if len(a.offered) == 0 || !a.offered[0].Source.IsValid() {
		return nil
	}
	for _, e := range a.offered {
		if e.Source.IsValid() && e.Source != a.source && e.Remote == a.dest {
			list = append(list, e)
		}
	}
	return list
}

// race is called when the network of an attempt has been silent for a while. It finds out
// whether the destination answers over another network. If so, the silence is that
// network's fault: the manager is told, and the program's socket is moved if possible.
func (f *follower) race(a *attempt) {
	select {
	case f.races <- struct{}{}:
		defer func() { <-f.races }()
	default:
		return
	}
	others := a.others()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if len(others) == 0 || !f.onDrop(a, cancel) {
		return
	}
	e, took, ok := firstAnswer(ctx, others, raceStep, try)
	if !ok {
		return
	}
	own, ok := f.copy(a)
	if !ok {
		return
	}
	defer f.copies.close(own)
	if a.waiting(own) {
		a.decision.ReportAnswered(e.Candidate, took)
		f.move(a, own, e)
	}
}

// onDrop makes cancel be called when the attempt is not followed any more. It returns
// false if the attempt has ended, or does not wait for an answer.
func (f *follower) onDrop(a *attempt, cancel func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[a.fd] != a || !a.waiting(a.fd) {
		return false
	}
	a.cancel = cancel
	return true
}

// copy returns a descriptor of an attempt's socket that belongs to the caller.
func (f *follower) copy(a *attempt) (own int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[a.fd] != a {
		return -1, false
	}
	own, err := unix.FcntlInt(uintptr(a.fd), unix.F_DUPFD_CLOEXEC, 0)
	return own, err == nil
}

// waiting tells whether an attempt waits for the first answer. fd is a descriptor of its
// socket.
func (a *attempt) waiting(fd int) bool { return tcpState(fd) == tcpSynSent }

// try connects by an endpoint, and closes the connection again.
func try(ctx context.Context, e client.Endpoint) error {
	d := net.Dialer{LocalAddr: e.LocalAddr("tcp"), Control: e.Control, KeepAlive: -1}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", e.Remote.String())
	if err != nil {
		return err
	}
	return c.Close()
}

// firstAnswer tries endpoints in order. It begins the next one after step, or as soon as one
// that is under way has failed. It returns the first one that answers, and how long that took.
func firstAnswer(ctx context.Context, list []client.Endpoint, step time.Duration, try func(context.Context, client.Endpoint) error) (e client.Endpoint, took time.Duration, ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		client.Endpoint
		took time.Duration
		err  error
	}
	answers := make(chan answer, len(list))
	timer := time.NewTimer(step)
	defer timer.Stop()
	for begun, ended := 0, 0; ended < len(list); {
		if begun < len(list) {
			next := list[begun]
			begun++
			timer.Reset(step)
			go func() {
				at := time.Now()
				err := try(ctx, next)
				answers <- answer{next, time.Since(at), err}
			}()
		}
		select {
		case a := <-answers:
			if a.err == nil {
				return a.Endpoint, a.took, true
			}
			ended++
		case <-timer.C:
		case <-ctx.Done():
			return e, 0, false
		}
	}
	return e, 0, false
}

// move moves the program's socket to another network. own is this process's descriptor of
// it. If the socket cannot be moved, the program's call goes on unchanged.
func (f *follower) move(a *attempt, own int, e client.Endpoint) {
	if f.tracer == nil || a.theirs.fd < 0 || a.multipath || a.bound {
		return
	}
	err := a.theirs.mayMove(own, a.cookie)
	if err == nil {
		err = a.theirs.stopped(f.tracer, own, func(again bool) error {
			if !a.theirs.has(a.cookie) {
				return errGone
			}
			// It is asked while the thread, or all, are stopped: who has forked before is seen.
			if shared, err := a.theirs.shared(own); err != nil || shared {
				return cmp.Or(err, errShared)
			}
			err := f.instead(a, e, func() error { return a.relocate(own, e, again) })
			if err == nil {
				// This comes before the program goes on: it may end within a moment, and
				// nothing is printed after its end.
				a.tell("moved to %v, as %v gets no answer", e.Source, a.source)
			}
			return err
		})
	}
	if err != nil && !errors.Is(err, errGone) && !errors.Is(err, errAnswered) {
		a.tell("does not answer to %v, but to %v; it waits on, and could not be moved: %v", a.source, e.Source, err)
	}
}

// tell tells a person of the attempt, if somebody wants to know.
func (a *attempt) tell(format string, args ...any) {
	if a.say != nil {
		a.say(fmt.Sprintf(format, args...))
	}
}

// instead follows an attempt over another endpoint from when f has moved its socket there.
// Nobody looks at the socket meanwhile. After an error of f, the first attempt is followed
// on.
func (f *follower) instead(a *attempt, e client.Endpoint, move func() error) error {
	b := &attempt{
		fd: a.fd, decision: a.decision, candidate: e.Candidate, called: a.begun, dest: a.dest, cookie: a.cookie, bound: a.bound,
		multipath: a.multipath, learner: a.learner, source: e.Source, v6: a.v6, theirs: a.theirs, say: a.say, moving: true, begun: time.Now(),
	}
	f.mu.Lock()
	ok := f.replaceLocked(a, b)
	f.mu.Unlock()
	if !ok {
		return errAnswered
	}
	err := move()
	f.mu.Lock()
	defer f.mu.Unlock()
	b.moving, b.begun = false, time.Now()
	f.soonLocked(b)
	if err != nil {
		f.replaceLocked(b, a)
	}
	return err
}

// replaceLocked follows b, which has the same socket, instead of a. It returns false if a
// was not followed any more.
func (f *follower) replaceLocked(a, b *attempt) bool {
	if f.under[a.fd] != a {
		return false
	}
	f.under[a.fd] = b
	b.next, b.at = a.next, a.at
	f.due[b.at] = b
	return true
}
