package arrival

import (
	"time"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/recent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	// maxPrefixes bounds the remembered prefixes. It is far more than a laptop meets
	// between two starts of the daemon.
	maxPrefixes = 1024
	// maxSockets bounds the remembered sockets per prefix. It is the size of the
	// original's arrays.
	maxSockets = 1024
)

// Counts is a policy's own count of the transfers under way on each prefix. A transfer
// begins when its prefix is chosen, and ends when its socket is offered for reuse
// (doc/original/policies.md section 12). Use NewCounts; the zero value is not usable.
type Counts struct {
	prefixes *recent.Map[policy.PrefixID, *count]
}

// State is what Counts knows about one prefix.
type State struct {
	Big       int // transfers placed by predicted time
	BigBefore int // value of Big before the latest such transfer
	Small     int // transfers dominated by latency
	Reuse     int // idle sockets at the previous decision
}

type count struct {
	State
	sockets *recent.Map[socket, mark]
}

// socket identifies a descriptor of a client. The client is part of the key, unlike in
// the original, which has one table for the descriptors of all clients.
type socket struct {
	pid, uid uint32
	fd       int32
}

// mark is what Counts remembers about a socket.
type mark struct {
	suggested time.Time
	kind      kind
}

type kind uint8

const (
	uncounted kind = iota
	small
	big
)

// NewCounts returns counts that are all zero.
func NewCounts() *Counts {
	return &Counts{prefixes: recent.New[policy.PrefixID, *count](maxPrefixes)}
}

// State returns what is known about a prefix.
func (n *Counts) State(id policy.PrefixID) State {
	if c, ok := n.prefixes.Get(id); ok {
		return c.State
	}
	return State{}
}

// Set replaces what is known about a prefix: the State, and which descriptors of a
// client carry small and big transfers. It is for tests and replay.
func (n *Counts) Set(id policy.PrefixID, s State, app policy.App, smallFDs, bigFDs []int32) {
	c := n.of(id)
	c.State = s
	for _, fd := range smallFDs {
		c.sockets.Put(socketOf(app, fd), mark{kind: small})
	}
	for _, fd := range bigFDs {
		c.sockets.Put(socketOf(app, fd), mark{kind: big})
	}
}

func (n *Counts) of(id policy.PrefixID) *count {
	c, ok := n.prefixes.Get(id)
	if !ok {
		c = &count{sockets: recent.New[socket, mark](maxSockets)}
		n.prefixes.Put(id, c)
	}
	return c
}

func (n *Counts) transfers(id policy.PrefixID) int {
	s := n.State(id)
	return s.Big + s.Small
}

func socketOf(app policy.App, fd int32) socket { return socket{app.PID, app.UID, fd} }

// update removes finished transfers from the counts. A transfer is finished if its
// socket has become reusable since the previous decision (update_counts of
// doc/original/policies.md section 12). A socket that was suggested less than a
// round-trip time ago cannot have carried a transfer yet. It is marked as in use, and
// does not count as idle.
func (n *Counts) update(r *policy.Request, cands []Candidate, inUse []bool) {
	for i := range cands {
		p := &cands[i]
		c := n.of(p.Prefix.ID)
		if p.Reuse > 0 {
			if more := p.Reuse - c.Reuse; more > 0 {
				c.finish(r, p, more, inUse)
			}
		}
		c.Reuse = p.Reuse
	}
}

func (c *count) finish(r *policy.Request, p *Candidate, more int, inUse []bool) {
	done := 0
	soonest := predict.Millis(predict.Raw(policy.MetricSRTTMin, p.Prefix)).Duration()
	for i := range r.Sockets {
		key := socketOf(r.App, r.Sockets[i].FD)
		m, known := c.sockets.Get(key)
		if !known {
			continue
		}
		if !m.suggested.IsZero() && r.Now.Sub(m.suggested) < soonest {
			more--
			p.Reuse--
			inUse[i] = true
			continue
		}
		switch {
		case m.kind == small && c.Small > 0 && done < more:
			c.Small--
			done++
		case m.kind == big && c.Big > 0 && done < more:
			c.Big--
			done++
		}
		m.kind = uncounted
		c.sockets.Put(key, m)
	}
	for ; done < more && (c.Small > 0 || c.Big > 0); done++ {
		if c.Small > 0 {
			c.Small--
		} else {
			c.Big--
		}
	}
}

// chosen counts the new transfer, and remembers the socket that will carry it. To tell
// a big transfer from a small one, it looks at the decision just made. The original
// compares the count of big transfers with the one before instead.
func (n *Counts) chosen(r *policy.Request, result Result, p *Candidate, inUse []bool) {
	if p == nil {
		return
	}
	c := n.of(p.Prefix.ID)
	m := mark{suggested: r.Now}
	switch result.Rule {
	case LowRTT:
		c.Small++
		m.kind = small
	case Fastest:
		c.BigBefore = c.Big
		c.Big++
		m.kind = big
	}
	if p.Reuse <= 0 {
		return
	}
	c.Reuse--
	for i := range r.Sockets {
		if s := &r.Sockets[i]; !inUse[i] && shape.On(s, p.Prefix) {
			c.sockets.Put(socketOf(r.App, s.FD), m)
			return
		}
	}
}
