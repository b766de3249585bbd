package adaptive

import (
	"math"
	"slices"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Measured compares the bytes that have come with those expected, for each prefix. It also
// learns the round-trip time of the connections there are.
func (p *Policy) Measured(prefixes []*policy.Prefix, now time.Time) {
	for _, q := range prefixes {
		if _, known := p.links.Get(q.ID); !known && p.links.Len() == maxPrefixes {
			continue
		}
		l := p.link(q)
		e := l.estimate(q)
		l.observe(q, &e, now, &p.sharing)
		l.listen(q)
	}
}

// Ended learns from a finished transfer. What a user's transfer teaches is used in decisions
// for the same user only.
func (p *Policy) Ended(t *policy.Transfer) {
	if t.Prefix == nil {
		return
	}
	p.learnt = true
	l := p.link(t.Prefix)
	if l.epoch.IsZero() {
		e := l.estimate(t.Prefix)
		l.observe(t.Prefix, &e, t.End, &p.sharing)
	}
	l.as(t.App.UID)
	user := p.of(t.App.UID)
	end := l.at(t.End)
	if t.Token == 0 || t.Bytes == 0 && !t.Partial {
		l.hear(t.MinRTT, true)
		return
	}
	x, home := p.take(l, t.Token)
	if home == nil {
		return
	}
	l.hear(t.MinRTT, home == l && x.others == 0 && !t.Reused)
	bytes := float64(t.Bytes)
	if !t.Partial {
		user.learnSize(&x, bytes)
	}
	if home == l {
		l.judgeTransfer(&x, t, end)
		if x.host != nil {
			x.host.opened(t.Prefix.ID, min(bytes+14480, max(l.capacity*l.rtt(t).Seconds()*1.2, 14480)), end)
		}
	}
	user.account.settle(t.Duration, t.End, x.alone, x.risk)
}

// rtt returns the round-trip time of a finished transfer, or the link's if the transfer has
// none.
func (l *link) rtt(t *policy.Transfer) time.Duration {
	if t.RTT > 0 {
		return t.RTT
	}
	return l.present
}

func (u *lore) learnSize(x *transfer, bytes float64) {
	stated := x.stated
	if x.loose && !x.kind {
		stated = 0
	}
	if x.loose && x.kind {
		return
	}
	if x.host != nil {
		x.host.learn(bytes, stated)
	}
	u.sizes.learn(bytes, stated)
}

// take finds the transfer with this token, preferably on link l, and removes it. It
// returns the link where the transfer was.
func (p *Policy) take(l *link, token uint64) (transfer, *link) {
	if x, ok := l.take(token); ok {
		return x, l
	}
	for i := range p.cands { // another network was decided on, but this one won the race
		if other := p.cands[i].link; other != l {
			if x, ok := other.take(token); ok {
				return x, other
			}
		}
	}
	return transfer{}, nil
}

func (l *link) take(token uint64) (transfer, bool) {
	for _, list := range []*[]transfer{&l.transfers, &l.ended} {
		for i, x := range *list {
			if x.token == token {
				*list = slices.Delete(*list, i, i+1)
				return x, true
			}
		}
	}
	return transfer{}, false
}

// hear brings the link's present round-trip time closer to rtt, the least of a connection.
// That time includes the queues that other programs fill.
func (l *link) hear(rtt time.Duration, alone bool) {
	if rtt <= 0 {
		return
	}
	if l.present == 0 {
		l.present = rtt
	}
	// Other transfers of ours may have made this round-trip time longer.
	if rtt > l.present && !alone {
		return
	}
	l.present += (rtt - l.present) / 2
}

// listen learns the round-trip time of the existing connections, while no transfer of
// ours is under way that could make it longer.
func (l *link) listen(q *policy.Prefix) {
	if q.Stats.Conns == 0 || q.Stats.SRTTCurrent <= 0 || len(l.transfers) > 0 || l.behind > 0 {
		return
	}
	l.measured(q.Stats.SRTTCurrent)
}

// roundTrip returns the round-trip time to expect of a new connection.
func (l *link) roundTrip(q *policy.Prefix, e *estimate, dest bool) time.Duration {
	if dest || l.present == 0 {
		return e.rtt
	}
	if _, configured := q.Options.Number(policy.MetricSRTTMin.String()); configured {
		return e.rtt
	}
	e.rttKnown = true
	return l.present
}

// bias returns the factor by which transfers take longer than predicted.
func (l *link) bias() float64 { return math.Exp(max(0, l.error-usual)) }

// judgeTransfer compares a finished transfer with its prediction.
func (l *link) judgeTransfer(x *transfer, t *policy.Transfer, end time.Duration) {
	l.correct(x, t, end)
	took := t.Duration - x.trips0
	bytes := float64(t.Bytes)*wireShare + wireExtra
	if took <= 0 || t.Bytes < 30_000 || t.Partial {
		return
	}
	rate := bytes / took.Seconds()
	// If the link was not full, the rate of the connection is what one connection gets
	// there.
	passed := 0.0
	if t.Prefix.Link.DownBytes > x.came {
		passed = float64(t.Prefix.Link.DownBytes-x.came) / t.Duration.Seconds()
	}
	if l.most > 0 && rate > l.most {
		l.most = rate
	}
	if passed < 0.5*l.capacity && rate < 0.7*min(x.most, l.capacity) {
		if t.Measured {
			return // perhaps the server has sent no faster, and there is no client to say so
		}
		if l.most == 0 {
			l.most = rate
		}
		l.most += (rate - l.most) / 2
	} else if l.most > 0 && rate > 0.9*l.most {
		l.most *= 1.1
		if l.most > l.capacity {
			l.most = 0
		}
	}
}

// Bounds of the correction, as logarithms of a factor.
const (
	leastError = -0.3
	mostError  = 3
	// usual is the error of predictions if nothing is wrong. An error up to usual means
	// nothing.
	usual = 0.7
)

// correct learns by what factor transfers take longer than predicted. It leaves out what
// the capacity explains that is known by now.
func (l *link) correct(x *transfer, t *policy.Transfer, end time.Duration) {
	over := x.over
	if over == 0 {
		over = end // the transfer was quicker than predicted
		if t.Partial {
			return
		}
	}
	load := (over - x.asked - x.trips0).Seconds()
	if came := float64(t.Bytes)*wireShare + wireExtra; t.Measured && x.loose && came > x.wire {
		load *= came / x.wire // it was larger than assumed, and perhaps not slower
	}
	if x.capacity > l.capacity {
		load *= x.capacity / l.capacity
	}
	expected := x.trips0.Seconds() + max(0, load)
	ratio := t.Duration.Seconds() / max(expected, 1e-3)
	error := min(max(math.Log(ratio), leastError), mostError)
	if t.Partial && error < l.error {
		return
	}
	// Up to a tenth of a second more weighs less, because it may be chance.
	weight := 0.3
	if t.Duration-time.Duration(expected*float64(time.Second)) > 100*time.Millisecond {
		weight = 0.5
	}
	l.error += weight * (error - l.error)
	l.erred, l.last = end, error
}
