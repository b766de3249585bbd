package main

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// lookAgain is the time between two looks for a daemon that has gone.
const lookAgain = 250 * time.Millisecond

// follower passes on the events of a daemon. When that is gone, it follows the next
// one.
type follower struct {
	c       *control.Client
	wanted  control.Filter
	started time.Time // start time of the followed daemon
	last    uint64    // number of the latest decision passed on
	each    func(raw []byte, e *control.Event) error
	say     func(text string) // tells a person what is not an event
}

// newFollower makes a follower of the running daemon, for what comes after the decision
// last.
func newFollower(ctx context.Context, c *control.Client, last uint64) (*follower, error) {
	var st control.Status
	if _, err := c.Get(ctx, "/v1/status", &st); err != nil {
		return nil, err
	}
	return &follower{c: c, started: st.Started, last: last, say: func(string) {}}, nil
}

// run passes events on until ctx ends, or until an error other than that the daemon has
// gone.
func (f *follower) run(ctx context.Context) error {
	for {
		err := f.c.Events(ctx, &f.last, f.wanted, f.take)
		if away := (*control.NotRunningError)(nil); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &away) {
			return err
		}
		f.say("mamma has stopped; waiting for it")
		if err := f.await(ctx); err != nil {
			return err
		}
	}
}

// take passes an event on.
func (f *follower) take(raw []byte, e *control.Event) error {
	if e.Type == control.EventDecision && e.Decision != nil {
		f.last = max(f.last, e.Decision.Seq)
	}
	if e.Decision != nil && !f.wanted.Matches(e.Decision) { // a daemon that is older than filters ignores them
		return nil
	}
	return f.each(raw, e)
}

// await returns when a daemon answers again. A new daemon counts decisions from the
// beginning, and those that it has made meanwhile are shown.
func (f *follower) await(ctx context.Context) error {
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var st control.Status
		_, err := f.c.Get(ctx, "/v1/status", &st)
		if away := (*control.NotRunningError)(nil); errors.As(err, &away) || gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !st.Started.Equal(f.started) {
			f.started, f.last = st.Started, 0
			f.say("mamma was started anew")
		}
		return nil
	}
}

// gone tells whether an error is one that a daemon gives when it ends.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// follow prints the decisions in list, and then those that come after the decision last,
// until ctx ends.
func (a *app) follow(ctx context.Context, c *control.Client, list []control.Decision, last uint64, wanted control.Filter) error {
	f, err := newFollower(ctx, c, last)
	if err != nil {
		return err
	}
	switch {
	case a.json && len(list) > 0: // the events contain them
		f.last = list[0].Seq - 1
	case !a.json:
		for i := range list {
			if err := a.printf("%s\n", a.line(&list[i]).in(a.columns())); err != nil {
				return err
			}
		}
	}
	f.wanted, f.each = wanted, a.showEvent
	f.say = a.tell
	return f.run(ctx)
}

// tell prints a message to the person at the terminal.
func (a *app) tell(text string) { _, _ = io.WriteString(a.err, "mammactl: "+text+"\n") }

// showEvent prints an event.
func (a *app) showEvent(raw []byte, e *control.Event) error {
	if a.json {
		return a.rawEvent(raw)
	}
	if text := a.event(e, a.columns()); text != "" {
		return a.printf("%s\n", text)
	}
	return nil
}
