package pathmanager

import (
	"time"

	"github.com/socket-intents/mamma/policy"
)

const (
	// watchEvery is how often connections are looked at that may be late.
	watchEvery = 250 * time.Millisecond
	// reportWait is how long the report about a new connection may take. Clients report at
	// once.
	reportWait = 200 * time.Millisecond
	// maxWatched bounds the connections that are looked at each time. Each takes the kernel
	// some ten microseconds. If there are more, each is looked at less often.
	maxWatched = 256
	// pause is how long nothing comes before more data of this host begin an exchange.
	pause = time.Second
	// idle is how long nothing has come over a connection that is not asked about any more.
	idle = 5 * time.Second
)

// carried follows what a connection carries. The zero value follows nothing.
type carried struct {
	sent, received uint64    // at the last look
	begun          time.Time // when the exchange began
	before         struct{ sent, received uint64 }
	came           time.Time // when something came, or the exchange began
	looked         time.Time
	first          bool // the exchange is the first one
}

// look takes what the connection has carried by now, and returns what of it belongs to its
// exchange.
func (c *carried) look(sent, received uint64, now time.Time) policy.Progress {
	if c.begun.IsZero() { // an older connection
		*c = carried{sent: sent, received: received, begun: now, came: now}
		c.before.sent, c.before.received = sent, received
	}
	if sent > c.sent && now.Sub(c.came) > pause && c.received > c.before.received {
		since := c.looked // the new exchange began after that
		if since.IsZero() {
			since = now
		}
		c.before.sent, c.before.received = c.sent, c.received
		c.begun, c.came, c.first = since, since, false
	}
	if received > c.received {
		c.came = now
	}
	c.sent, c.received, c.looked = sent, received, now
	return policy.Progress{
		Age: now.Sub(c.begun), Quiet: now.Sub(c.came), First: c.first,
		Sent: sent - min(sent, c.before.sent), Received: received - min(received, c.before.received),
	}
}

// awaits tells whether c is so young that the report of its client may come yet. Before, a
// policy that keeps networks back would not know that it has to. watch asks again.
func (s *steerer) awaits(c *connection, now time.Time) bool {
	return c.decision == nil && c.carried.first && now.Sub(c.carried.begun) < reportWait && s.watches()
}

// watches tells whether there is anything to watch.
func (s *steerer) watches() bool {
	r := s.policy.View().Runner
	return r != nil && len(s.conns) > 0 && r.HedgesSubflows()
}

// watch looks at connections that may be late, and lets the policy choose the subflows of
// those that are.
func (s *steerer) watch(now time.Time) (wait time.Duration) {
	left := maxWatched
	for token, c := range s.conns { // in random order, so each has its turn
		if !c.established {
			continue
		}
		if left--; left < 0 {
			break
		}
		if c.unreported {
			wait = sooner(wait, s.sync(c, now))
			continue
		}
		sent, received, err := s.hosts.Carried(token)
		if err != nil {
			continue // its end will be told
		}
		progress := c.carried.look(sent, received, now)
		if progress.Quiet > idle {
			continue
		}
		if c.decision == nil {
			c.decision = s.decisionOn(c, now)
		}
		q := c.question()
		q.Progress = progress
		late, err := s.policy.Late(q, now)
		if err != nil {
			s.log.Debug("MPTCP connection is not judged", "token", token, "err", err)
			return wait // the others neither
		}
		if !late {
			continue
		}
		if !c.late {
			s.log.Debug("MPTCP connection is late", "token", token, "remote", c.remote, "age", progress.Age, "received", progress.Received)
		}
		c.late, c.progress = true, progress
		wait = sooner(wait, s.sync(c, now))
	}
	return wait
}
