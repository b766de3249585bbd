package census

import (
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const (
	// leastPause is for how long nothing must have come before what came counts as all. A
	// sender that has lost packets is silent for less: its time-out is the round-trip time
	// and 200 ms, and twice that the second time. pauseTrips is the same in round trips, for
	// networks on which these are long, and mostPause bounds that.
	leastPause = time.Second
	pauseTrips = 4
	mostPause  = 10 * time.Second

	// A connection that fills its network is hardly ever silent, apart from losses. One that
	// is still at many passes waits for its program or for its server. stillTrips is the
	// silence from which it counts as still, in round trips, and leastStill bounds that from
	// below. Packets of a slow network are apart as well: stillPackets times their mean
	// distance is no stillness, as far as mostStill.
	stillTrips   = 2
	leastStill   = 50 * time.Millisecond
	stillPackets = 3
	mostStill    = 200 * time.Millisecond
	packet       = 1448 // bytes of data in a full one
	// enoughPasses is the number of passes from which a connection can count as one that
	// waits, and stillShare the share of these at which it was still: one in so many.
	enoughPasses = 4
	stillShare   = 4

	// doubtShare is how many times the doubt about its duration a transfer must have taken.
	// At ten passes a second, this is a fifth of a second where the connection ends between
	// two passes. Shorter ones would teach nothing but the length of passes.
	doubtShare = 4
)

// Transfer is what a connection has brought from its decision until its first pause, as the
// kernel counts. Its client reports nothing of the kind.
type Transfer struct {
	ID uuid.UUID // of the decision
	mam.Measurement
}

// flow is the first burst of a connection, as far as it has come.
type flow struct {
	asked  time.Time
	latest pathstat.Connection // with the figures of the latest pass that found the connection
	fresh  bool                // latest is of the present pass, or came after the one before
	final  bool                // the kernel has told latest when the connection ended, after the pass before

	listed time.Time // the first pass that found it
	bytes  uint64    // received up to last
	last   time.Time // when the last byte came, give or take doubt
	doubt  time.Duration
	// passes is the number of passes that found it. It was still at so many of them: before
	// something more came, and since the last byte.
	passes, still, lately int
}

// flowOf begins to follow the connection of a decision. It returns nil if there is nothing
// to learn from it: the client reports by itself, the policy has not chosen a network, the
// connection may use several, or its sender goes at the pace of a stream.
func flowOf(rec *mam.Record) *flow {
	category, _ := rec.Intents.Category()
	_, streams := rec.Intents.Bitrate()
	if rec.Transfers || rec.Decision.Prefix == nil || rec.Decision.Multipath || rec.Bound.IsValid() || streams || category == intent.CategoryStream {
		return nil
	}
	return &flow{asked: rec.Time}
}

// note takes the kernel's figures.
func (f *flow) note(s *pathstat.Connection) {
	if f != nil {
		f.latest, f.fresh = *s, true
	}
}

// finish takes the kernel's last figures.
func (f *flow) finish(s *pathstat.Connection) {
	if f.note(s); f != nil {
		f.final = true
	}
}

// step processes the figures of a pass. It returns true if the burst is over: nothing has
// come for a while. before is the pass before.
func (f *flow) step(now, before time.Time) (over bool) {
	if !f.fresh {
		return false
	}
	f.fresh = false
	if f.listed.IsZero() {
		f.listed = now
	}
	s := &f.latest
	pause := min(max(leastPause, pauseTrips*s.RTT), mostPause)
	if s.Received == 0 {
		return now.Sub(f.listed) >= pause
	}
	// In a last word, the peer's FIN may count as a byte.
	if fin := f.final && f.bytes > 0 && s.Received == f.bytes+1; s.Received > f.bytes && !fin {
		f.still += f.lately
		f.bytes, f.lately = s.Received, 0
		if f.final { // nobody tells when it ended, but that was between the two passes
			if before.Before(f.asked) {
				before = f.asked
			}
			f.doubt = now.Sub(before) / 2
		}
		f.last = now.Add(-f.doubt - s.Silent)
	}
	f.passes++
	if s.Silent > f.stillness(now) {
		f.lately++
	}
	return s.Silent >= pause
}

// stillness is the silence from which the connection counts as still.
func (f *flow) stillness(now time.Time) time.Duration {
	apart := time.Duration(float64(now.Sub(f.listed)) * packet / float64(f.bytes))
	return max(leastStill, stillTrips*f.latest.RTT, min(stillPackets*apart, mostStill))
}

// waited tells whether program or server have made the burst last longer than the network
// has.
func (f *flow) waited() bool {
	n := f.passes - f.lately
	return n >= enoughPasses && f.still*stillShare > n
}

// brought returns what the connection has brought, false if nothing can be learnt from it.
func (k *connection) brought() (Transfer, bool) {
	f := k.flow
	if f == nil || f.bytes == 0 || f.waited() {
		return Transfer{}, false
	}
	took := f.last.Sub(f.asked)
	if took <= 0 || took < doubtShare*f.doubt {
		return Transfer{}, false
	}
	return Transfer{k.id, mam.Measurement{
		Over: k.over, Bytes: f.bytes, Duration: took, RTT: f.latest.RTT, MinRTT: f.latest.MinRTT, End: f.last,
	}}, true
}

// Ended notes a connection that has ended since the pass before. Its last figures count,
// even if no pass has found it. It implements pathstat.Watcher.
func (c *Census) Ended(over policy.PrefixID, s *pathstat.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.parting[s.Cookie]; k != nil {
		k.flow.finish(s)
		return
	}
	k := c.byCookie[s.Cookie]
	if k == nil {
		if k = c.findLocked(over, s); k == nil {
			return
		}
	}
	c.unawaitLocked(k)
	c.moveLocked(k, over)
	k.flow.finish(s)
	k.gone = true
}

// partLocked appends what a connection has brought that has ended. If its last figures may
// still come, because it has ended between the kernel's message and its list, it waits for
// them until the end of the next pass.
func (c *Census) partLocked(list []Transfer, k *connection, now time.Time) []Transfer {
	if k.flow != nil && !k.flow.fresh && !k.gone && k.cookie != 0 {
		c.parting[k.cookie] = k
		return list
	}
	return c.measureLocked(list, k, now, true)
}

// measureLocked lets the flows take the figures of the pass that ends, and appends those
// whose first burst is over. Those of connections that have ended are over in any case.
func (c *Census) measureLocked(list []Transfer, k *connection, now time.Time, ended bool) []Transfer {
	if k.flow == nil {
		return list
	}
	if over := k.flow.step(now, c.passed); !over && !ended {
		return list
	}
	if t, ok := k.brought(); ok {
		list = append(list, t)
	}
	k.flow = nil
	return list
}
