package main

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// lookAgain is how often a daemon that has gone is looked for.
const lookAgain = 250 * time.Millisecond

// follower prints events, of one daemon after the other.
type follower struct {
	*app
	c       *control.Client
	started time.Time // of the daemon that is followed
	last    uint64    // number of the latest decision that was shown
}

// follow prints the decisions in d, and then those that come, until ctx ends.
func (a *app) follow(ctx context.Context, c *control.Client, d *control.Decisions) error {
	var st control.Status
	if _, err := c.Get(ctx, "/v1/status", &st); err != nil {
		return err
	}
	f := &follower{app: a, c: c, started: st.Started, last: d.Last}
	if !a.json {
		for i := range d.Decisions {
			if err := a.printf("%s\n", a.line(&d.Decisions[i])); err != nil {
				return err
			}
		}
	} else if len(d.Decisions) > 0 {
		f.last = d.Decisions[0].Seq - 1
	}
	for {
		err := c.Events(ctx, &f.last, f.show)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		a.say("mamma has stopped; waiting for it")
		if err := f.await(ctx); err != nil {
			return err
		}
	}
}

// say tells the person in front of it what is no event.
func (a *app) say(text string) { _, _ = io.WriteString(a.err, "mammactl: "+text+"\n") }

// await returns when a daemon answers again. One that was started anew counts from
// the beginning, and what it has decided meanwhile is to be shown.
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

// gone tells of an error that a daemon which is just ending gives.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// show prints an event.
func (f *follower) show(raw []byte, e *control.Event) error {
	if e.Type == control.EventDecision && e.Decision != nil {
		f.last = max(f.last, e.Decision.Seq)
	}
	if f.json {
		return f.rawEvent(raw)
	}
	if text := f.event(e); text != "" {
		return f.printf("%s\n", text)
	}
	return nil
}
