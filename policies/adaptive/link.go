package adaptive

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/mam/policy"
)

const (
	// maxTransfers bounds the transfers remembered per prefix, and with them the
	// time of a decision, which grows with their square; browsers have 17 connections.
	maxTransfers = 32
	// patience is how much longer than predicted a transfer is believed to last
	// at most: connections fail, and programs load less than they say.
	patience = 10 * time.Second
	// wireShare and wireExtra turn a size into bytes on the wire: headers of full
	// segments, handshake and response header.
	wireShare, wireExtra = 1.036, 300
	// maxCross is the share of a link that others are believed to keep.
	maxCross = 0.7
	// lateness is how long a link must have been behind for its rate to count as
	// its capacity, and relief how long it takes for that to double.
	lateness = time.Second
	relief   = 8 * time.Second
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
	lastID    uint64

	// The picture as of the last measurement that was seen.
	seen      time.Duration
	received  uint64        // counter of the interface
	drained   float64       // bytes that should have come since
	behind    float64       // bytes that should have come but did not
	lateSince time.Duration // 0: it is not behind
	ceiling   float64       // rate found when it was behind; 0: none
	ceilingAt time.Duration
	cross     float64 // rate that others use
}

// observe brings the picture up to date, first with the newest measurement, then
// on to now. It lowers the estimate's capacity to what is there for transfers.
func (l *link) observe(p *policy.Prefix, e *estimate, now time.Time) {
	if l.epoch.IsZero() || now.Before(l.epoch.Add(l.now)) { // first, or the clock was set back
		*l = link{epoch: now.Add(-time.Second), now: time.Second, lastID: l.lastID}
		l.received = p.Link.DownBytes
		l.seen = l.at(p.Link.Time)
	}
	if l.capacity == 0 {
		l.capacity = e.capacity
	}
	if at := l.at(p.Link.Time); at > l.seen {
		l.advance(min(at, l.at(now)))
		l.compare(p, at)
	}
	l.advance(l.at(now))
	if l.ceilingAt > 0 && l.now-l.ceilingAt < warning && e.sustained > 0 {
		e.capacity = min(e.capacity, max(e.sustained, l.ceiling))
	}
	if l.ceiling > 0 {
		l.capacity = l.ceiling * math.Exp2(float64(l.now-l.ceilingAt)/float64(relief))
		if l.capacity < e.capacity {
			e.capacity = l.capacity
		} else {
			l.ceiling = 0
		}
	}
	e.capacity = max(e.capacity-l.cross, e.capacity*(1-maxCross), leastCapacity)
	l.capacity = e.capacity
}

func (l *link) at(t time.Time) time.Duration { return t.Sub(l.epoch) }

// advance lets the transfers go on.
func (l *link) advance(to time.Duration) {
	if to <= l.now {
		return
	}
	var bytes float64
	l.transfers, bytes = drain(l.transfers, l.capacity, l.now, to)
	l.drained += bytes
	l.now = to
	kept := l.transfers[:0]
	for _, x := range l.transfers {
		if x.until > to {
			kept = append(kept, x)
		}
	}
	l.transfers = kept
}

// compare corrects the picture by what came since the last measurement.
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
	// What came beyond expectation belongs to transfers that are faster than
	// believed, else to others.
	for i := range l.transfers {
		if surplus <= 0 {
			break
		}
		b := min(surplus, l.transfers[i].left-done)
		l.transfers[i].left -= b
		surplus -= b
	}
	l.cross = max(0, surplus) / length

	// A tenth of a second of transfer is within the errors of measurement.
	if l.behind < 0.1*l.capacity {
		l.lateSince = 0
		return
	}
	if l.lateSince == 0 {
		l.lateSince = since
	}
	late := at - l.lateSince
	if late > 3*patience { // something was given up
		l.behind, l.lateSince = 0, 0
		return
	}
	if rate := max(float64(p.Link.DownSMA), came/length); late >= lateness && rate < 0.9*l.capacity {
		l.ceiling, l.ceilingAt = max(rate, leastCapacity), at
	}
}

// transfer describes a new one; it begins after the given number of round trips.
func (l *link) transfer(size float64, rtt time.Duration, roundTrips int) transfer {
	growth := slowStart(size, rtt)
	wire := size*wireShare + wireExtra
	l.lastID++
	x := transfer{begin: l.now + time.Duration(roundTrips)*rtt, left: wire, most: math.Inf(1), id: l.lastID}
	if growth > 0 {
		x.most = wire / growth.Seconds()
	}
	x.until = x.begin + growth + 4*seconds(wire/l.capacity) + patience
	return x
}

// add notes a transfer. Of too many the one with the smallest rest is forgotten.
func (l *link) add(x transfer) {
	if len(l.transfers) < maxTransfers {
		l.transfers = append(l.transfers, x)
		return
	}
	least := 0
	for i := range l.transfers {
		if l.transfers[i].left < l.transfers[least].left {
			least = i
		}
	}
	l.transfers[least] = x
}

// outlook says what a new transfer would mean.
type outlook struct {
	finish time.Duration // from now, of the new transfer
	harm   time.Duration // by how much the others become later, all together
	others int
}

// preview predicts what happens if x is added. It overwrites and returns scratch.
func (l *link) preview(x transfer, scratch []transfer) (outlook, []transfer) {
	list := l.all(scratch)
	o := outlook{others: len(list)}
	without, _ := l.ends(list, 0)
	list = append(l.all(list[:0]), x)
	with, finish := l.ends(list, x.id)
	o.finish = finish
	o.harm = max(0, with-without)
	return o, list[:0]
}

// all are the transfers, with what should have come already as one more.
func (l *link) all(scratch []transfer) []transfer {
	list := append(scratch[:0], l.transfers...)
	if l.behind > 0 {
		list = append(list, transfer{left: l.behind, most: math.Inf(1)})
	}
	return list
}

// ends adds up when the transfers end, from now, but for that of the given id,
// whose end it returns apart. The list is used up.
func (l *link) ends(list []transfer, id uint64) (sum, _ time.Duration) {
	at, own := l.now, longest
	for len(list) > 0 && at < l.now+longest {
		rate, next := share(list, l.capacity, at, math.MaxInt64)
		list, _ = step(list, rate, at, next, func(ended uint64) {
			if id != 0 && ended == id {
				own = next - l.now
			} else {
				sum += next - l.now
			}
		})
		at = next
	}
	return sum, own
}
