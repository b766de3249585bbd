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
	// A burst is over if nothing comes for leastPause. A sender that has lost packets is
	// silent for less: its time-out is the round-trip time and 200 ms, and twice that the
	// second time. Where round trips are long, the pause is pauseTrips round trips, but at
	// most mostPause.
	leastPause = time.Second
	pauseTrips = 4
	mostPause  = 10 * time.Second

	// A connection that fills its network is hardly ever silent, apart from losses. One that
	// is still at many passes waits for its program or for its server. stillTrips is the
	// silence from which it counts as still, in round trips, and leastStill bounds that from
	// below. On a slow network the packets themselves are apart: a silence of up to
	// stillPackets times their mean distance, but of mostStill at most, does not count.
	stillTrips   = 2
	leastStill   = 50 * time.Millisecond
	stillPackets = 3
	mostStill    = 200 * time.Millisecond
	packet       = 1448 // bytes of data in a full one
	// enoughPasses is the number of passes from which a connection can count as one that
	// waits. It does if it was still at more than one of stillShare passes.
	enoughPasses = 4
	stillShare   = 4

	// A transfer counts only if it took at least doubtShare times the doubt about its duration.
	// At ten passes a second, this is a fifth of a second where the connection ends between
	// two passes. Shorter ones would teach nothing but the length of passes.
	doubtShare = 4
)

// Transfer is what a connection has brought from its decision until its first pause, as the
// kernel counts. It is for connections whose clients report no transfers.
type Transfer struct {
	ID uuid.UUID // of the decision
	mam.Measurement
}

// flow is the first burst of a connection, as far as it has come.
type flow struct {
	asked  time.Time
	latest pathstat.Connection // with the figures of the latest pass that found the connection
	fresh  bool                // latest is of the present pass, or came after the one before
	final  bool                // latest is the kernel's last word: the connection has ended since the pass before

	listed time.Time // end of the first pass with figures of it
	bytes  uint64    // received up to last
	last   time.Time // when the last byte came, give or take doubt
	doubt  time.Duration
	// passes counts the passes since the first byte came. The connection was silent at still
	// of these, and brought more later; lately are those at which it was silent since the
	// last byte.
	passes, still, lately int
}

// flowOf begins to follow the connection of a decision. It returns nil if there is nothing
// to learn from it: the client reports by itself, the application has bound the
// socket, the policy has not chosen a network, the connection may use several, or its sender
// goes at the pace of a stream.
func flowOf(rec *mam.Record) *flow {
	category, _ := rec.Intents.Category()
	_, streams := rec.Intents.Bitrate()
	if rec.Transfers || rec.Decision.Prefix == nil || rec.Decision.Multipath || rec.Bound.IsValid() || streams || category == intent.CategoryStream {
		return nil
	}
	return &flow{asked: rec.Time}
}

// note takes the kernel's figures, unless they are old.
func (f *flow) note(s *pathstat.Connection) {
	if f != nil && s.Age == 0 {
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
	// In the figures that the kernel gives at the end, the peer's FIN may count as a byte.
	if fin := f.final && f.bytes > 0 && s.Received == f.bytes+1; s.Received > f.bytes && !fin {
		f.still += f.lately
		f.bytes, f.lately = s.Received, 0
		if f.final { // it ended between the pass before and this one; nobody tells when
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

// waited tells whether the program or the server, and not the network, has made the burst
// slow.
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
	c.follows.Store(true)
}

// partLocked appends what an ended connection has brought. Its last figures may still come,
// if it has ended while the pass was reading. The connection then waits for them until the
// end of the next pass.
func (c *Census) partLocked(list []Transfer, k *connection, now time.Time) []Transfer {
	if k.flow != nil && !k.flow.fresh && !k.gone && k.cookie != 0 {
		c.parting[k.cookie] = k
		return list
	}
	return c.measureLocked(list, k, now, true)
}

// measureLocked lets the flow of k take the figures of the pass that ends. If its first
// burst is over, measureLocked appends what that has brought, unless nothing can be learnt
// from it. With ended, the burst is over in any case.
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
