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

// link is one connection to the daemon. It belongs to one goroutine at a time.
type link struct {
	nc       net.Conn
	reader   *wire.Reader
	source   *pageReader      // what reader reads from
	page     *generation.Page // page from the daemon; nil: none
	announce wire.Features    // what the client announces to the daemon
	out      []byte
	id       uuid.UUID     // the connection's id, from the first answer
	features wire.Features // what the daemon announced
	calls    wire.Calls    // state of the request under way
	owed     int           // requests that were sent and whose answers were not read
	met      bool          // a first answer was read, so features are known
	broken   bool          // not to be used again
	limit    limit
	begun    time.Time // when the question began; zero: how long its answer takes says nothing about the daemon
	key      *spareKey // key of the question under way; nil: its answer serves no other dial
}

// newLink makes a link on which nothing was sent yet. With leases, the daemon is told
// that the client understands them.
func newLink(nc net.Conn, leases bool) *link {
	l := &link{nc: nc, source: &pageReader{nc: nc}, announce: features, begun: time.Now()}
	if !leases {
		l.announce &^= wire.FeatureLeases
		l.source.plain = true
	}
	l.reader = wire.NewReader(l.source)
	return l
}

// takePage takes the page that came with the first answer, if one came.
func (l *link) takePage() {
	l.page, l.source.page, l.source.plain = l.source.page, nil, true
}

func (l *link) close() {
	l.limit.stop()
	_ = l.nc.Close()
}

// hello finds out what kind of daemon answers. It sends an action that only answers have.
// So every daemon answers that it does not know this request, and none asks its policy. A
// daemon with extensions announces them in that answer.
func (l *link) hello(ctx context.Context, deadline time.Time) error {
	var ans wire.Message
	if err := l.exchange(ctx, deadline, &ans, &wire.Message{Action: wire.ActionErrorUnknownRequest}); err != nil {
		return err
	}
	if l.broken {
		return errors.New("daemon sent more than an answer")
	}
	return nil
}

// exchange sends req, and more after it. It reads each answer into ans, which holds the last
// one at the end. After an error the caller must call giveUp.
//
// All requests together must be short. The daemon answers the first one before it reads on.
// If they were long, each side could wait for the other one to read.
func (l *link) exchange(ctx context.Context, deadline time.Time, ans, req *wire.Message, more ...*wire.Message) error {
	l.out = l.out[:0]
	if err := l.encode(req); err != nil {
		return err
	}
	for _, m := range more {
		if err := l.encode(m); err != nil {
			return err
		}
	}
	turn := l.limit.begin(l.nc, deadline)
	stop := context.AfterFunc(ctx, func() { l.limit.cancel(l.nc, turn) })
	defer func() {
		stop()
		l.limit.end(l.nc)
	}()
	if _, err := l.nc.Write(l.out); err != nil {
		return err
	}
	l.calls, l.owed = req.Context.Calls, 1+len(more)
	if err := l.receiveAll(ans); !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil || !readable(l.nc) {
		return err
	}
	// An answer has arrived in time. It was this process that got the processor too
	// late.
	l.limit.again(l.nc, time.Now().Add(minPatience))
	return l.receiveAll(ans)
}

// encode fills in the id and the features of m, and appends m to what is sent. Sockets and
// networks for which there is no room are left out.
func (l *link) encode(m *wire.Message) error {
	m.Context.ID = l.id
	m.Features = l.announce | m.Features&wire.FeatureTransfers // FeatureTransfers depends on the request
	out, _, err := m.AppendFit(l.out)
	if err != nil {
		return fmt.Errorf("cannot encode the request: %w", err)
	}
	l.out = out
	return nil
}

// receiveAll reads the answers that are owed. It may be called again after an interruption.
func (l *link) receiveAll(ans *wire.Message) error {
	for l.owed > 0 {
		if err := l.receive(ans); err != nil {
			return err
		}
	}
	return nil
}

// receive reads the next answer. It may be called again after an
// interruption.
func (l *link) receive(ans *wire.Message) error {
	if err := l.reader.Read(ans); err != nil {
		return err
	}
	l.owed--
	id, ok := wire.AcceptID(l.id, l.calls, ans.Context.ID)
	if !ok {
		return errForeignID
	}
	l.id = id
	l.features = ans.Features
	l.met = true
	if l.owed == 0 && l.reader.Buffered() > 0 {
		l.broken = true // a daemon never sends anything unasked
	}
	return nil
}
