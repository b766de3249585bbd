package mam

import (
	"errors"
	"sync"
	"syscall"

	"github.com/socket-intents/mamma/internal/wire"
)

// PlainDials counts the dials that clients made without the manager, by the reason.
// All but Unread are what clients tell, as soon as they are in touch again; a client
// may tell anything.
type PlainDials struct {
	Late      uint64 // no answer in time
	LeftAlone uint64 // not asked, because an answer had been late a moment before
	Absent    uint64 // the manager was not there
	Failed    uint64 // other reasons
	// Unread counts decisions whose client had left before it read them, which it
	// does when it has waited for long enough, or is not to dial any more.
	Unread uint64
}

// Told is the sum of what clients tell.
func (p PlainDials) Told() uint64 { return p.Late + p.LeftAlone + p.Absent + p.Failed }

type plainDials struct {
	mu    sync.Mutex
	count PlainDials
}

// PlainDials tells how many dials went without the manager since it started.
func (m *Manager) PlainDials() PlainDials {
	m.plain.mu.Lock()
	defer m.plain.mu.Unlock()
	return m.plain.count
}

// plainDials counts what the client tells with the request. Nobody hears of it
// otherwise: a dial that goes without the manager succeeds.
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

// unread counts a decision whose client has left without reading it. The kernel
// tells: of a Unix socket that is closed with something unread in it, the other
// end has ECONNRESET (unix_release_sock), and EPIPE is what writing to a closed
// one gives.
func (c *conn) unread(err error) {
	if c.decided && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		c.m.plain.mu.Lock()
		c.m.plain.count.Unread++
		c.m.plain.mu.Unlock()
	}
}
