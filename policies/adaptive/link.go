package adaptive

import (
	"math"
	"slices"
	"time"

	"github.com/socket-intents/mamma/policy"
)

const (
	// maxTransfers bounds the transfers remembered per prefix, and so the time of a
	// decision. Browsers have up to 17 connections.
	maxTransfers = 32
	// patience is how much longer than predicted a transfer may take before it is taken
	// for ended. Connections fail, and programs load less than they state.
	patience = 10 * time.Second
	// wireShare and wireExtra turn a size into bytes on the wire: the headers of full
	// segments, the handshake and the response header.
	wireShare, wireExtra = 1.036, 250
	// leastShare is the share of a link that is assumed for us beside traffic that does
	// not give way.
	leastShare = 0.05
	// recently is the greatest age of the last measurement at which the bytes since
	// then still tell how much others use now.
	recently = 300 * time.Millisecond
	// quiet is the rate below which a link counts as idle: one segment per tenth of a
	// second.
	quiet = 15e3
	// lateness is how long a link must have been behind its prediction before its rate
	// is taken for its capacity.
	lateness = time.Second
	// doubtful is the time after which a link that was found slow is worth a try.
	doubtful = 30 * time.Second
	// burst is the share of a tenth of a second's rate that a link is believed to
	// sustain.
	burst = 0.8
	// flowing is the share of the highest rate of a tenth of a second that the mean of
	// a second shows after one and a half tenths at this rate.
	flowing = 0.15
	// warning is how long a link that was behind is not believed to be faster than the
	// highest rate that it has ever kept up for a second.
	warning = 10 * time.Minute
)

// link is the policy's picture of a prefix: its transfers, which share the capacity
// evenly as far as their windows allow.
type link struct {
	epoch     time.Time
	now       time.Duration
	capacity  float64 // bytes per second that the transfers share
	transfers []transfer

	// The fields below are as of the last measurement.
	seen      time.Duration
	received  uint64        // the interface's byte counter
	drained   float64       // bytes expected since then
	behind    float64       // bytes that were expected but have not come
	lateSince time.Duration // since when it is behind; 0: it is not
	ceiling   float64       // rate found while it was behind; 0: none
	ceilingAt time.Duration
	warned    time.Duration // when it was last behind for long; 0: never
	cross     float64       // rate that other programs use
	rttKnown  bool
	assumed   bool // the capacity was an assumed one

	known   known         // what was measured of the prefix
	tried   tried         // what the tries since the last reset of the budget were to bring
	triedAt time.Duration // when a try began last; 0: never

	ended []transfer // transfers that should have ended, but were not reported yet
	taught
	by by
}

// observe brings the picture up to date: first to the newest measurement, then to now.
// It lowers the estimate's capacity to what is left for our transfers.
func (l *link) observe(p *policy.Prefix, e *estimate, now time.Time, s *sharing) {
	if l.epoch.IsZero() || now.Before(l.epoch.Add(l.now)) { // the first call, or the clock was set back
		*l = link{epoch: now.Add(-time.Second), now: time.Second, known: l.known, tried: l.tried}
		l.received = p.Link.DownBytes
		if l.seen = l.now; !p.Link.Time.IsZero() {
			l.seen = l.at(p.Link.Time)
		}
	}
	if l.capacity == 0 {
		l.capacity = e.capacity
	}
	l.retime(e, l.at(now))
	if l.assumed && !e.assumed { // the doubts were about an assumption that is gone
		l.ceiling = 0
	}
	l.assumed = e.assumed && l.warned == 0
	if at := l.at(p.Link.Time); at > l.seen {
		l.advance(min(at, l.at(now)), s)
		l.compare(p, at)
	}
	l.advance(l.at(now), s)
	if l.warned > 0 && l.now-l.warned < warning && e.sustained > 0 {
		e.capacity = min(e.capacity, max(e.sustained, l.ceiling))
	}
	if l.ceiling >= e.capacity {
		l.ceiling = 0
	}
	if l.ceiling > 0 {
		e.capacity = l.ceiling
	}
	e.capacity = max(e.capacity-l.cross, e.capacity*l.floor(p), leastCapacity)
	l.capacity = e.capacity
}

// loose tells whether a transfer without a stated size is under way that is larger than
// assumed: it should have ended, and its client has not reported its end.
func (l *link) loose() bool {
	is := func(x transfer) bool { return x.loose }
	return slices.ContainsFunc(l.transfers, is) || slices.ContainsFunc(l.ended, is)
}

// floor returns the share of a link that is left for us whatever other programs load.
// TCP gives way to one more connection. Traffic that does not wait for acknowledgements
// does not.
func (l *link) floor(p *policy.Prefix) float64 {
	others := p.Stats.Conns - len(l.transfers) - len(l.ended)
	if others <= 0 {
		return leastShare
	}
	return 0.5 / float64(others+1)
}

func (l *link) at(t time.Time) time.Duration { return t.Sub(l.epoch) }

// retime corrects the times at which transfers begin. While no round-trip time is
// known, no handshake is complete, and the noted times rest on an assumed one.
func (l *link) retime(e *estimate, now time.Duration) {
	for i := range l.transfers {
		x := &l.transfers[i]
		switch {
		case l.rttKnown:
		case e.rttKnown:
			x.begin += time.Duration(x.trips) * (e.rtt - assumedRTT)
			x.most *= float64(assumedRTT) / float64(e.rtt)
		default:
			x.begin = max(x.begin, now+time.Duration(x.trips-1)*assumedRTT)
		}
	}
	l.rttKnown = e.rttKnown
}

// advance lets the transfers proceed to a later time.
func (l *link) advance(to time.Duration, s *sharing) {
	if to <= l.now {
		return
	}
	before := rest(l.transfers)
	s.start(l.transfers, l.capacity, l.now)
	s.run((to - l.now).Seconds())
	s.note()
	l.drained += before - rest(l.transfers)
	for i := range l.transfers {
		if t := s.ends[i]; t <= s.at {
			l.transfers[i].over = l.now + seconds(t)
		}
	}
	l.now = to
	l.transfers = slices.DeleteFunc(l.transfers, func(x transfer) bool {
		if x.left < done {
			l.drop(x)
		}
		return x.left < done || x.until <= to
	})
}

// drop moves a transfer that should have ended to the ended ones, until a report tells
// when it really ended.
func (l *link) drop(x transfer) {
	if x.token == 0 {
		return
	}
	if len(l.ended) == maxTransfers {
		l.ended = slices.Delete(l.ended, 0, 1)
	}
	l.ended = append(l.ended, x)
}

// rest returns the bytes that all transfers together still have to load.
func rest(list []transfer) float64 {
	sum := 0.0
	for i := range list {
		sum += list[i].left
	}
	return sum
}

// compare corrects the picture by the bytes that have come since the last measurement.
func (l *link) compare(p *policy.Prefix, at time.Duration) {
	length := (at - l.seen).Seconds()
	came := 0.0
	if p.Link.DownBytes > l.received {
		came = float64(p.Link.DownBytes - l.received)
	}
	since := l.seen
	l.received, l.seen = p.Link.DownBytes, at

	surplus := came - l.drained - l.behind
	l.behind = max(0, -surplus)
	l.drained = 0
	// Bytes beyond the expected ones belong to transfers that are faster than
	// predicted. Bytes that these cannot explain belong to other programs.
	for i := range l.transfers {
		if surplus <= 0 {
			break
		}
		b := min(surplus, l.transfers[i].left-done)
		l.transfers[i].left -= b
		surplus -= b
	}
	if surplus > 0 && l.loose() {
		surplus = 0
	}
	l.cross = max(0, surplus) / length
	if length > recently.Seconds() { // the use by others so long ago says nothing about now
		now := float64(p.Link.DownRate)
		if len(l.transfers) > 0 {
			now = min(now, l.cross) // some of the load of others may be these transfers
		}
		l.cross = now
	}

	l.judge(p, since, came/length)
}

// judge finds out whether the link is slower than believed. The evidence is the bytes
// that have come since the measurement before, at the given mean rate.
func (l *link) judge(p *policy.Prefix, since time.Duration, mean float64) {
	// A tenth of a second of transfer is within the errors of measurement, and of the
	// conversion of sizes to bytes on the wire. These errors must not pile up: on a
	// link on which nothing comes, nothing is under way.
	margin, patient, highest := 0.1*l.capacity, lateness, float64(p.Link.DownSMA)
	if l.assumed {
		// An assumed capacity is replaced by the highest measured rate as soon as less
		// comes than expected, though something comes. That must hold for more than
		// one measurement: servers take time, so the first one may hold only the
		// beginning of a transfer.
		margin, highest = wireExtra, float64(p.Link.DownRateMax)
		if p.Link.DownRate >= quiet && float64(p.Link.DownSMA) >= flowing*highest {
			patient = 0
		}
	}
	// A link can carry what it has carried for a second. A link that was never loaded
	// can carry the highest rate that it has ever shown.
	shown := float64(p.Link.DownSMA)
	if l.assumed {
		shown = highest
	}
	shown = max(shown, burst*float64(p.Link.DownRate))
	if l.ceiling > 0 && shown > l.ceiling {
		l.ceiling, l.ceilingAt = shown, l.seen
	}
	if l.behind < margin {
		l.lateSince = 0
		if p.Link.DownRate < quiet {
			l.behind = 0
		}
		return
	}
	if p.Link.DownRate < leastCapacity {
		// If nothing comes for a second, or no connection is left, the transfers were
		// given up. That tells nothing about the link: whether it is dead is for its
		// health to say. A shorter pause tells nothing either, unless the link is slow.
		none := p.Stats.Conns == 0 && !p.Stats.Time.IsZero()
		if none || p.Link.DownSMA < leastCapacity {
			l.transfers = slices.DeleteFunc(l.transfers, func(x transfer) bool { return x.begin+recently <= l.seen })
			l.behind, l.lateSince = 0, 0
			return
		}
		if l.ceiling == 0 || l.assumed {
			return
		}
	}
	first := l.lateSince == 0
	if first {
		l.lateSince = since
	}
	late := l.seen - l.lateSince
	rate := highest
	if late >= lateness {
		rate = float64(p.Link.DownSMA)
		if l.seen-since < lateness { // else the mean covers a time before the transfers, too
			rate = max(rate, mean)
		}
	}
	if late >= patient && rate < 0.9*l.capacity {
		l.ceiling, l.ceilingAt = max(rate, leastCapacity), l.seen
		if late >= lateness {
			l.warned = l.seen
		}
	}
	if late > 3*lateness && !first { // some transfers were given up
		l.behind, l.lateSince = 0, 0
	}
}

// doubted tells whether the link is believed to be worse than it once was, because of
// measurements that are old by now.
func (l *link) doubted() bool {
	return l.ceiling > 0 && l.now-l.ceilingAt > doubtful || l.bias() > 1 && l.now-l.erred > doubtful
}

// transfer describes a new transfer, which begins after the given number of round
// trips.
func (l *link) transfer(size float64, rtt time.Duration, roundTrips int, window float64) transfer {
	growth := slowStart(size, rtt, window)
	wire := size*wireShare + wireExtra
	x := transfer{trips: roundTrips, begin: l.now + time.Duration(roundTrips)*rtt, left: wire, most: math.Inf(1)}
	if growth > 0 {
		x.most = wire / growth.Seconds()
	}
	if l.most > 0 {
		x.most = min(x.most, l.most)
	}
	x.wire = wire
	x.trips0 = time.Duration(roundTrips) * rtt
	x.until = x.begin + growth + 4*seconds(wire/l.capacity) + patience
	return x
}

// add notes a transfer. If there are too many, add forgets one of the user who has the
// most: the one with the fewest bytes left.
func (l *link) add(x transfer) {
	if len(l.transfers) < maxTransfers {
		l.transfers = append(l.transfers, x)
		return
	}
	most, least := 0, -1
	for i := range l.transfers {
		if n := l.count(l.transfers[i].user); n > most {
			most, least = n, i
		} else if n == most && l.transfers[i].left < l.transfers[least].left {
			least = i
		}
	}
	l.transfers[least] = x
}

// count returns the number of a user's transfers under way.
func (l *link) count(user uint32) (n int) {
	for i := range l.transfers {
		if l.transfers[i].user == user {
			n++
		}
	}
	return n
}

// outlook is what one more transfer would mean.
type outlook struct {
	finish time.Duration // end of the new transfer, from now
	harm   time.Duration // sum of the delays of all others
	last   time.Duration // end of the last one of all, from now
	others int
}

// preview predicts what happens if x is added.
func (l *link) preview(x transfer, s *sharing) outlook {
	list := append(s.copied[:0], l.transfers...)
	if l.behind > 0 { // the bytes that are missing load the link like one more transfer
		list = append(list, transfer{left: l.behind, most: math.Inf(1)})
	}
	o := outlook{others: len(list)}
	without := l.finish(list, s)
	list = append(list, x)
	with := l.finish(list, s)
	s.copied = list
	own := min(s.ends[o.others], longest.Seconds())
	o.finish = seconds(own)
	o.last = seconds(slices.Max(s.ends))
	o.harm = max(0, seconds(with-own-without))
	return o
}

// finish simulates the transfers to their ends and returns the sum of their times.
func (l *link) finish(list []transfer, s *sharing) (sum float64) {
	s.start(list, l.capacity, l.now)
	s.run(longest.Seconds())
	for _, t := range s.ends {
		sum += min(t, longest.Seconds())
	}
	return sum
}
