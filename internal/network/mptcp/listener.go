package mptcp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// Listener receives the events of all connections in the namespace.
type Listener struct {
	c *genetlink.Conn
}

// ErrOverrun says that events were lost because they came faster than they were read.
// The caller should list the connections again ([Diag.Connections]).
var ErrOverrun = errors.New("MPTCP events were lost")

// listenBuffer holds the events of some thousand connections. On a busy host that
// many short connections may come and go between two reads.
const listenBuffer = 1 << 20

// Listen opens a Listener, which receives all events from then on.
func Listen() (*Listener, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(listenBuffer) // a smaller buffer will do if this fails
	return newListener(c)
}

func newListener(c *genetlink.Conn) (*Listener, error) {
	conn, err := newConn(c)
	if err != nil {
		return nil, err
	}
	for _, g := range conn.family.Groups {
		if g.Name == eventsGroup {
			if err := c.JoinGroup(g.ID); err != nil {
				_ = c.Close()
				return nil, explain("listen to MPTCP events", featureEvents, err)
			}
			return &Listener{c: c}, nil
		}
	}
	_ = c.Close()
	return nil, featureEvents.missing(nil)
}

// Close ends the Listener. A waiting Receive returns.
func (l *Listener) Close() error { return l.c.Close() }

// Run calls handle with the events in order, as they come, until the context ends or
// reading fails. It returns the cause. Run calls overrun if events are missing, and
// ignores events that cannot be decoded. Run may be called once.
func (l *Listener) Run(ctx context.Context, handle func(Event), overrun func()) error {
	stop := context.AfterFunc(ctx, func() { _ = l.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		events, err := l.receive()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrOverrun):
			overrun()
			continue
		case err != nil:
			return err
		}
		for _, e := range events {
			handle(e)
		}
	}
}

// receive waits for events.
func (l *Listener) receive() ([]Event, error) {
	messages, _, err := l.c.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return nil, ErrOverrun
	}
	if err != nil {
		return nil, fmt.Errorf("receive MPTCP events: %w", err)
	}
	return decodeEvents(messages), nil
}

func decodeEvents(messages []genetlink.Message) []Event {
	events := make([]Event, 0, len(messages))
	for _, m := range messages {
		if e, err := decodeEvent(m.Header.Command, m.Data); err == nil {
			events = append(events, e)
		}
	}
	return events
}
