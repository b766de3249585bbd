package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/operator/control"
)

const watchHelp = `
Shows the networks with short histories of round-trip time and load, and below
them the decisions as they are made; both begin with what was before. Keys: q quits,
p stops and goes on, / keeps the lines that contain a text, enter explains a decision
(up and down choose it, escape goes back).

If the output or the input is not a terminal, a line about the networks is printed
each second, and a line for each decision. With --json, the events are printed as
they come. While mamma is not there, as when it is started anew, watch waits for it.`

func (a *app) watchCommand() *cobra.Command {
	var n uint
	cmd := a.command("watch [-n N]", "Watch networks and decisions live", watchHelp,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			a.endless = true
			// If mamma does not answer at the start, that is an error. Later, watch
			// waits for it.
			st, p, err := poll(ctx, c)
			if err != nil {
				return err
			}
			var past control.Decisions
			if _, err := c.Get(ctx, fmt.Sprintf("/v1/decisions?limit=%d", n), &past); err != nil {
				return err
			}
			if a.json {
				return a.follow(ctx, c, past.Decisions, past.Last, control.Filter{})
			}
			f := &follower{c: c, started: st.Started, last: past.Last, say: func(string) {}}
			in, inTerminal := terminal.Of(a.in)
			out, outTerminal := terminal.Of(a.out)
			if !inTerminal || !outTerminal || a.getenv("TERM") == "dumb" {
				return a.watchPlain(ctx, f, p, past.Decisions)
			}
			s := &screen{a: a}
			var h control.History
			if _, err := c.Get(ctx, "/v1/history", &h); err == nil { // an older daemon has no history
				s.recall(&h)
			}
			s.update(st, p)
			for i := range past.Decisions {
				s.add(&control.Event{Type: control.EventDecision, Decision: &past.Decisions[i]})
			}
			return a.watchScreen(ctx, f, s, in, out)
		})
	cmd.Flags().UintVarP(&n, "number", "n", 100, "how many decisions of the past to begin with")
	return cmd
}

func poll(ctx context.Context, c *control.Client) (*control.Status, *control.Prefixes, error) {
	var st control.Status
	var p control.Prefixes
	if _, err := c.Get(ctx, "/v1/status", &st); err != nil {
		return nil, nil, err
	}
	if _, err := c.Get(ctx, "/v1/prefixes", &p); err != nil {
		return nil, nil, err
	}
	return &st, &p, nil
}

// news is what the sources of a watch send: answers, an event, or trouble.
type news struct {
	status   *control.Status
	prefixes *control.Prefixes
	event    *control.Event
	err      error
}

// gather sends news until ctx ends: the state once a second, and the events of f. If
// the daemon does not answer, it tries again.
func gather(ctx context.Context, f *follower, to chan<- news) {
	var g errgroup.Group
	send := func(n news) {
		select {
		case to <- n:
		case <-ctx.Done():
		}
	}
	g.Go(func() error {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return nil
			}
			st, p, err := poll(ctx, f.c)
			if ctx.Err() == nil {
				send(news{status: st, prefixes: p, err: err})
			}
		}
	})
	g.Go(func() error {
		f.each = func(_ []byte, e *control.Event) error {
			send(news{event: e})
			return ctx.Err()
		}
		for ctx.Err() == nil {
			_ = f.run(ctx)   // the answers show the error, too
			_ = f.await(ctx) // finds out whether it is the same daemon
		}
		return nil
	})
	_ = g.Wait()
}

// watchPlain prints lines.
func (a *app) watchPlain(ctx context.Context, f *follower, first *control.Prefixes, past []control.Decision) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	width := a.columns()
	if err := a.printf("%s\n", fold(a.summary(first), width)); err != nil {
		return err
	}
	for i := range past {
		if err := a.printf("%s\n", a.line(&past[i]).in(width)); err != nil {
			return err
		}
	}
	in := make(chan news)
	done := make(chan struct{})
	away := false
	go func() {
		defer close(done)
		gather(ctx, f, in)
	}()
	defer func() {
		cancel()
		<-done
	}()
	for {
		select {
		case n := <-in:
			text := ""
			switch {
			case n.err != nil && !errors.As(n.err, new(*control.NotRunningError)) && !gone(n.err):
				return n.err
			case n.err != nil && !away:
				away = true
				a.tell("mamma has stopped; waiting for it")
			case n.event != nil:
				text = a.event(n.event, width)
			case n.prefixes != nil:
				away = false
				text = fold(a.summary(n.prefixes), width)
			}
			if text == "" {
				continue
			}
			if err := a.printf("%s\n", text); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// summary returns the state of the networks in one line.
func (a *app) summary(p *control.Prefixes) string {
	parts := []string{p.Now.In(a.location).Format("15:04:05.000")}
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		parts = append(parts, fmt.Sprintf("%s rtt %s ms, down %s, up %s Mbit/s, %s conns, %s;", name(x),
			msec(x.Path.SRTTMedianMS), mbps(x.Link.Down), mbps(x.Link.Up), count(x.Path.Connections), strings.ReplaceAll(state(x), "  ", " ")))
	}
	if len(p.Prefixes) == 0 {
		parts = append(parts, "no prefix is managed")
	}
	return strings.TrimSuffix(strings.Join(parts, "  "), ";")
}

// frameTime is the least time between two drawings. Thousands of decisions may come
// in a second, and a terminal cannot follow each.
const frameTime = 50 * time.Millisecond

// watchScreen takes the terminal over until the user leaves or ctx ends, and
// gives it back however that happens.
func (a *app) watchScreen(ctx context.Context, f *follower, s *screen, in, out int) error {
	ctx, cancel := context.WithCancel(ctx)
	t, err := openScreen(in, out, a.out)
	if err != nil {
		cancel()
		return err
	}
	keys := make(chan string)
	from := make(chan news)
	var g errgroup.Group
	g.Go(func() error { t.keys(ctx, keys); return nil })
	g.Go(func() error { gather(ctx, f, from); return nil })
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH, unix.SIGCONT)
	defer func() {
		signal.Stop(resized)
		cancel()
		t.leave()
		_ = g.Wait()
	}()
	if err := t.draw(s); err != nil {
		return err
	}
	frame := time.NewTimer(0)
	defer frame.Stop()
	changed := false
	for !s.leaving {
		select {
		case k, ok := <-keys:
			if !ok {
				return nil // the terminal is gone
			}
			s.press(k)
			if s.suspend {
				s.suspend = false
				if err := t.suspend(); err != nil {
					return err
				}
			}
			if !s.leaving {
				if err := t.draw(s); err != nil {
					return err
				}
			}
		case n := <-from:
			s.take(n)
			if !changed {
				changed = true
				frame.Reset(frameTime)
			}
		case <-frame.C:
			if changed {
				changed = false
				if err := t.draw(s); err != nil {
					return err
				}
			}
		case <-resized:
			if err := t.draw(s); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take takes news.
func (s *screen) take(n news) {
	switch {
	case n.event != nil:
		s.add(n.event)
	case n.err != nil:
		var absent *control.NotRunningError
		s.trouble = clean(n.err.Error())
		if errors.As(n.err, &absent) {
			s.trouble = "no mamma answers at " + clean(absent.Path) + "; trying again   (q quit)"
		}
	case n.prefixes != nil:
		s.update(n.status, n.prefixes)
	}
}

// draw draws the screen with one write over the old one. Clearing the screen first
// would flicker.
func (t *fullScreen) draw(s *screen) error {
	width, height := t.size()
	var b strings.Builder
	b.WriteString(home)
	for i, l := range s.render(width, height) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + eraseLine)
	}
	b.WriteString(eraseBelow)
	_, err := io.WriteString(t.w, b.String())
	return err
}
