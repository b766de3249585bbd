package adaptive

import (
	"math"
	"slices"
	"time"

	"github.com/socket-intents/mamma/policy"
)

const (
	// maxTransfers bounds the transfers remembered per prefix, and with them the
	// time of a decision; browsers have 17 connections.
	maxTransfers = 32
	// patience is by how much a transfer may exceed its predicted time before it is
	// taken for ended. Connections fail, and programs load less than they state.
	patience = 10 * time.Second
	// wireShare and wireExtra turn a size into bytes on the wire: headers of full
	// segments, handshake and response header.
	wireShare, wireExtra = 1.036, 250
	// leastShare is the part of a link that is there for us beside what does not give way.
	leastShare = 0.05
	// recently is how long ago the last measurement may have been seen for what came
	// since to tell how much others use now.
	recently = 300 * time.Millisecond
	// quiet is the rate below which a link counts as idle: a segment in a tenth of a
	// second.
	quiet = 15e3
	// lateness is how long a link must have been behind for its rate to count as
	// its capacity.
	lateness = time.Second
	// doubtful is how long ago a link was seen to be slow for it to be worth a try.
	doubtful = 30 * time.Second
	// burst is the share of a rate of a tenth of a second that a link is believed to keep.
	burst = 0.8
	// flowing is the share of the highest rate of a tenth of a second that the mean
	// of a second shows when that went on for one and a half of them.
	flowing = 0.15
	// warning is how long a link that was behind is not believed to be faster than
	// what it ever kept up for a second.
	warning = 10 * time.Minute
)

// link is the policy's picture of a prefix: its transfers, which share the
// capacity evenly as far as their windows allow.
type link struct {
	epoch     time.Time
	now       time.Duration
	capacity  float64 // bytes per second that the transfers share
	transfers []transfer

	// The picture as of the last measurement that was seen.
	seen      time.Duration
	received  uint64        // counter of the interface
	drained   float64       // bytes that should have come since
	behind    float64       // bytes that should have come but did not
	lateSince time.Duration // 0: it is not behind
	ceiling   float64       // rate found when it was behind; 0: none
	ceilingAt time.Duration
	warned    time.Duration // when it was last behind for long; 0: never
	cross     float64       // rate that others use
	rttKnown  bool
	assumed   bool // the capacity was

	ended []transfer // should have, not told of yet
	taught
	by by
}

// observe brings the picture up to date, first with the newest measurement, then
// on to now. It lowers the estimate's capacity to what is there for transfers.
func (l *link) observe(p *policy.Prefix, e *estimate, now time.Time, s *sharing) {
	if l.epoch.IsZero() || now.Before(l.epoch.Add(l.now)) { // first, or the clock was set back
		*l = link{epoch: now.Add(-time.Second), now: time.Second}
		l.received = p.Link.DownBytes
		if l.seen = l.now; !p.Link.Time.IsZero() {
			l.seen = l.at(p.Link.Time)
		}
	}
	if l.capacity == 0 {
		l.capacity = e.capacity
	}
	l.retime(e, l.at(now))
	if l.assumed && !e.assumed { // and with it what it was doubted for
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

// loose tells that a transfer goes on that is larger than it was thought to be: its
// client stated no size, and has not told that it has ended.
func (l *link) loose() bool {
	is := func(x transfer) bool { return x.loose }
	return slices.ContainsFunc(l.transfers, is) || slices.ContainsFunc(l.ended, is)
}

// floor is the share of a link that is there for us whatever others load. TCP gives
// way to one connection more; what does not wait for acknowledgements does not.
func (l *link) floor(p *policy.Prefix) float64 {
	others := p.Stats.Conns - len(l.transfers) - len(l.ended)
	if others <= 0 {
		return leastShare
	}
	return 0.5 / float64(others+1)
}

func (l *link) at(t time.Time) time.Duration { return t.Sub(l.epoch) }

// retime corrects when transfers begin. As long as no round-trip time is known no
// handshake is over; then they were noted for one that was assumed.
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

// advance lets the transfers go on.
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

// drop remembers a transfer that should have ended until it is known when it did.
func (l *link) drop(x transfer) {
	if x.token == 0 {
		return
	}
	if len(l.ended) == maxTransfers {
		l.ended = slices.Delete(l.ended, 0, 1)
	}
	l.ended = append(l.ended, x)
}

// rest is how many bytes of all transfers together are left.
func rest(list []transfer) float64 {
	sum := 0.0
	for i := range list {
		sum += list[i].left
	}
	return sum
}

// compare corrects the picture by the bytes that came since the last measurement.
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
	// predicted. What these cannot explain belongs to other programs.
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
	if length > recently.Seconds() { // what others did long ago says nothing
		now := float64(p.Link.DownRate)
		if len(l.transfers) > 0 {
			now = min(now, l.cross) // some of it belongs to them
		}
		l.cross = now
	}

	l.judge(p, since, came/length)
}

// judge finds out whether the link is slower than believed, by what came since
// the measurement before, at the given mean rate.
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
		if l.seen-since < lateness { // else the mean is of what came before, too
			rate = max(rate, mean)
		}
	}
	if late >= patient && rate < 0.9*l.capacity {
		l.ceiling, l.ceilingAt = max(rate, leastCapacity), l.seen
		if late >= lateness {
			l.warned = l.seen
		}
	}
	if late > 3*lateness && !first { // something was given up
		l.behind, l.lateSince = 0, 0
	}
}

// doubted tells that the link is thought to be worse than it once was, by what was
// seen a while ago.
func (l *link) doubted() bool {
	return l.ceiling > 0 && l.now-l.ceilingAt > doubtful || l.bias() > 1 && l.now-l.erred > doubtful
}

// transfer describes a new one; it begins after the given number of round trips.
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

// add notes a transfer. If there are too many, the one with the smallest rest is
// forgotten of those of the user who has most of them.
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

// count is how many transfers of a user are under way.
func (l *link) count(user uint32) (n int) {
	for i := range l.transfers {
		if l.transfers[i].user == user {
			n++
		}
	}
	return n
}

// outlook says what a new transfer would mean.
type outlook struct {
	finish time.Duration // from now, of the new transfer
	harm   time.Duration // by how much the others become later, all together
	others int
}

// preview predicts what happens if x is added.
func (l *link) preview(x transfer, s *sharing) outlook {
	list := append(s.copied[:0], l.transfers...)
	if l.behind > 0 { // what should have come already is one more
		list = append(list, transfer{left: l.behind, most: math.Inf(1)})
	}
	o := outlook{others: len(list)}
	without := l.finish(list, s)
	list = append(list, x)
	with := l.finish(list, s)
	s.copied = list
	own := min(s.ends[o.others], longest.Seconds())
	o.finish = seconds(own)
	o.harm = max(0, seconds(with-own-without))
	return o
}

// finish simulates the transfers to their ends, and returns the sum of their times.
func (l *link) finish(list []transfer, s *sharing) (sum float64) {
	s.start(list, l.capacity, l.now)
	s.run(longest.Seconds())
	for _, t := range s.ends {
		sum += min(t, longest.Seconds())
	}
	return sum
}
