package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/socket-intents/mamma/internal/wire"
)

// link is one connection to the daemon. One goroutine at a time has it.
type link struct {
	nc       net.Conn
	reader   *wire.Reader
	out      []byte
	id       uuid.UUID     // of the connection, from the first answer
	features wire.Features // of the daemon
	broken   bool          // not to be used again, or not before the answer that it owes
	calls    wire.Calls    // of the last request
	owes     bool          // the answer to the last request did not come in time
	limit    limit
}

func (l *link) close() {
	l.limit.stop()
	_ = l.nc.Close()
}

// hello finds out what the daemon is. The action of an error answer is not a
// request, so every daemon answers that it does not know it, without asking its
// policy; one with extensions announces them in that answer.
func (l *link) hello(ctx context.Context, deadline time.Time) error {
	var ans wire.Message
	if err := l.exchange(ctx, deadline, &wire.Message{Action: wire.ActionErrorUnknownRequest}, &ans); err != nil {
		return err
	}
	if l.broken {
		if err := ctx.Err(); err != nil {
			return err // the interruption came with the answer
		}
		return errors.New("daemon sent more than an answer")
	}
	return nil
}

// exchange sends req and reads its answer. After an error the connection must
// be closed, unless it owes the answer.
func (l *link) exchange(ctx context.Context, deadline time.Time, req, ans *wire.Message) (err error) {
	req.Context.ID, l.calls = l.id, req.Context.Calls
	req.Features = features
	out, _, err := req.AppendFit(l.out[:0])
	if err != nil {
		return fmt.Errorf("cannot encode the request: %w", err)
	}
	l.out = out
	l.limit.begin(l.nc, deadline)
	stop := context.AfterFunc(ctx, func() { interrupt(l.nc) })
	sent := false
	defer func() {
		inTime := l.limit.end()
		switch {
		case !stop():
			l.broken = true // by the interruption, even if it came too late
		case inTime:
		case err == nil:
			l.resume() // the answer came in the moment of the limit
		default:
			l.broken, l.owes = true, sent && errors.Is(err, os.ErrDeadlineExceeded)
		}
	}()
	if _, err := l.nc.Write(out); err != nil {
		return err
	}
	sent = true
	if err := l.reader.Read(ans); err != nil {
		return err
	}
	return l.take(ans)
}

// take notes what an answer to a request says about the connection.
func (l *link) take(ans *wire.Message) error {
	id, ok := wire.AcceptID(l.id, l.calls, ans.Context.ID)
	if !ok {
		return errForeignID
	}
	l.id = id
	l.features = ans.Features
	if l.reader.Buffered() > 0 {
		l.broken = true // nothing may come unasked
	}
	return nil
}

// resume undoes an interruption by the limit.
func (l *link) resume() {
	l.limit.resume()
	_ = l.nc.SetDeadline(time.Time{})
}

// readAway waits for the answer that the link owes, so that the next one read is
// the answer to the next request.
func (l *link) readAway(wait time.Duration) error {
	if err := l.nc.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	var ans wire.Message
	if err := l.reader.Read(&ans); err != nil {
		return err
	}
	l.broken, l.owes = false, false
	if err := l.take(&ans); err != nil {
		return err
	}
	if l.broken {
		return errors.New("daemon sent more than an answer")
	}
	l.resume()
	return nil
}
