package mam

import (
	"errors"
	"sync"
	"syscall"

	"github.com/socket-intents/mamma/internal/wire"
)

// PlainDials counts dials that clients made without the manager, by reason. Clients
// tell all numbers but Unread, with their next request. A client may tell anything, so
// the numbers are not proven.
type PlainDials struct {
	Late      uint64 // no answer in time
	LeftAlone uint64 // the client did not ask, because an answer had been late a moment before
	Absent    uint64 // the manager was not there
	Failed    uint64 // other reasons
	// Unread counts answers that the client did not wait for. A client leaves when it
	// has waited long enough, or when its dial is cancelled.
	Unread uint64
}

// Told is the sum of the dials that clients told of.
func (p PlainDials) Told() uint64 { return p.Late + p.LeftAlone + p.Absent + p.Failed }

type plainDials struct {
	mu    sync.Mutex
	count PlainDials
}

// PlainDials tells how many dials were made without the manager since it started.
func (m *Manager) PlainDials() PlainDials {
	m.plain.mu.Lock()
	defer m.plain.mu.Unlock()
	return m.plain.count
}

// plainDials counts and logs the plain dials that the client tells of in its request.
// Nothing else shows them: a dial without the manager succeeds, so nobody complains.
func (c *conn) plainDials() {
	p := c.msg.PlainDials
	c.msg.PlainDials = nil
	if p == nil || *p == (wire.PlainDials{}) {
		return
	}
	n := &c.m.plain.count
	c.m.plain.mu.Lock()
	n.Late += uint64(p.Late)
	n.LeftAlone += uint64(p.LeftAlone)
	n.Absent += uint64(p.Absent)
	n.Failed += uint64(p.Failed)
	c.m.plain.mu.Unlock()
	c.m.log.Warn("a program has made connections without mamma", "pid", c.app.PID, "command", c.app.Command, "uid", c.app.UID,
		"late", p.Late, "left_alone", p.LeftAlone, "absent", p.Absent, "failed", p.Failed)
}

// unread counts an answer whose client left without reading it. The kernel's error
// shows this. If a Unix socket is closed with unread data in it, the other end gets
// ECONNRESET (unix_release_sock); writing to a closed socket gives EPIPE.
func (c *conn) unread(err error) {
	if c.decided && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		c.m.plain.mu.Lock()
		c.m.plain.count.Unread++
		c.m.plain.mu.Unlock()
	}
}
