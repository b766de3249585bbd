package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/wire"
)

// link is one connection to the daemon. One goroutine at a time has it.
type link struct {
	nc       net.Conn
	reader   *wire.Reader
	source   *pageReader      // of reader
	page     *generation.Page // that the daemon gave; nil: none
	announce wire.Features    // to the daemon
	out      []byte
	id       uuid.UUID     // of the connection, from the first answer
	features wire.Features // of the daemon
	calls    wire.Calls    // of the request under way
	asked    bool          // a request is out whose answer was not read
	met      bool          // a first answer was read: features are known
	broken   bool          // not to be used again
	limit    limit
	begun    time.Time // when what its answer belongs to began; zero: its time tells nothing
	key      *spareKey // of the question under way; nil: its answer serves nobody else
}

// newLink is a link that has said nothing yet. With leases, the daemon is told that they
// are understood.
func newLink(nc net.Conn, leases bool) *link {
	l := &link{nc: nc, source: &pageReader{nc: nc}, announce: features, begun: time.Now()}
	if !leases {
		l.announce &^= wire.FeatureLeases
		l.source.plain = true
	}
	l.reader = wire.NewReader(l.source)
	return l
}

// takePage takes what came with the first answer.
func (l *link) takePage() {
	l.page, l.source.page, l.source.plain = l.source.page, nil, true
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
		return errors.New("daemon sent more than an answer")
	}
	return nil
}

// exchange sends req and reads its answer. After an error, only giveUp knows what
// to do with the connection.
func (l *link) exchange(ctx context.Context, deadline time.Time, req, ans *wire.Message) error {
	req.Context.ID = l.id
	req.Features = l.announce
	out, _, err := req.AppendFit(l.out[:0])
	if err != nil {
		return fmt.Errorf("cannot encode the request: %w", err)
	}
	l.out = out
	turn := l.limit.begin(l.nc, deadline)
	stop := context.AfterFunc(ctx, func() { l.limit.cancel(l.nc, turn) })
	defer func() {
		stop()
		l.limit.end(l.nc)
	}()
	if _, err := l.nc.Write(out); err != nil {
		return err
	}
	l.calls, l.asked = req.Context.Calls, true
	if err := l.receive(ans); !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil || !readable(l.nc) {
		return err
	}
	// The answer is there. It was us who did not get the processor in time.
	l.limit.again(l.nc, time.Now().Add(minPatience))
	return l.receive(ans)
}

// receive reads the answer to what was asked. It can be called again after it was
// interrupted.
func (l *link) receive(ans *wire.Message) error {
	if err := l.reader.Read(ans); err != nil {
		return err
	}
	l.asked = false
	id, ok := wire.AcceptID(l.id, l.calls, ans.Context.ID)
	if !ok {
		return errForeignID
	}
	l.id = id
	l.features = ans.Features
	l.met = true
	if l.reader.Buffered() > 0 {
		l.broken = true // nothing may come unasked
	}
	return nil
}
