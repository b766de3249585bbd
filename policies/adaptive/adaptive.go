package adaptive

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/datagrams"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/recent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonOnly     = "the only prefix"
	reasonEarliest = "shortest predicted time"
	reasonExplore  = "to see whether this network has become better"
	reasonWeighed  = "short predicted time, weighing other transfers, slow links and the default"
)

// The weights were tuned with the simulator of tests/evaluate, on its grid of access
// links. Values half or twice as large give nearly the same results.
const (
	// slowness is the penalty of a prefix with hardly any of the best prefix's
	// capacity. On such a prefix short queues drop bursts, and a mistake lasts longer.
	slowness = 0.3
	// loyalty is how much better than the default prefix another one must be.
	loyalty = 0.05
	// suspicion is the time that a connection over a suspect prefix may cost. If the
	// prefix does not work, the client tries the next candidate that much later.
	suspicion = time.Second
)

// maxPrefixes bounds the prefixes that are remembered.
const maxPrefixes = 256

// Policy is the adaptive policy. Its state has two parts: for each prefix the
// transfers that it assumes to be under way, and for each user what it has learnt from
// reports of transfers.
type Policy struct {
	links   *recent.Map[policy.PrefixID, *link]
	users   *recent.Map[uint32, *lore]
	token   uint64
	learnt  bool // something was learnt from a transfer since the last Revoke
	cands   []candidate
	sharing sharing
}

var (
	_ policy.Policy        = (*Policy)(nil)
	_ policy.Annotator     = (*Policy)(nil)
	_ policy.Observer      = (*Policy)(nil)
	_ policy.LeaseObserver = (*Policy)(nil)
	_ policy.Revoker       = (*Policy)(nil)
)

// New makes the policy. It has no settings of its own. Settings of prefixes may
// override metrics.
func New(cfg policy.Config) (policy.Policy, error) {
	if err := cfg.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}, policy.MetricNames()...); err != nil {
		return nil, err
	}
	return &Policy{links: recent.New[policy.PrefixID, *link](maxPrefixes), users: recent.New[uint32, *lore](maxUsers)}, nil
}

// Annotate marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return policy.AnnotateDefault(q) }

// candidate is a prefix with the policy's predictions for the request.
type candidate struct {
	prefix   *policy.Prefix
	link     *link
	estimate estimate
	transfer transfer
	outlook  outlook
	unproven bool
	trips    int
	window   float64 // bytes that an idle connection's window still allows; 0: none
	cost     float64 // seconds; the lowest wins
	risk     float64 // seconds that exploring this candidate may cost; 0: choosing it does not count as exploring
	once     float64 // the capacity that was assumed before a doubt
	feared   float64 // the cost if transfers take as much longer than predicted as the last one did
	hope     float64 // the cost if the prefix is as good again as it ever was; equals cost unless that was long ago
}

// Choose suggests the prefix on which the transfer costs the least time, where its
// delay of other transfers counts as well. A stream of datagrams goes where it is heard
// best. If that prefix has an idle socket, the socket is reused. A socket that the
// application bound stays as it is.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	if r.Bound.IsValid() {
		return shape.Bound(r, policy.ResolveDefault, true)
	}
	if len(r.Prefixes) == 0 {
		return policy.Decision{Reason: shape.ReasonNoPrefix}
	}
	user := p.of(r.App.UID)
	n := user.needOf(r)
	p.cands = p.cands[:0]
	for i := range r.Prefixes {
		p.cands = append(p.cands, p.candidate(r, i, n))
	}
	if datagrams.IsStream(r) {
		return datagrams.Choose(r, p.capacity)
	}
	best := p.weigh(n)
	chosen := p.explore(best, &user.account)
	lease := p.lease(chosen, best, n) // before this transfer counts as under way
	p.token++
	x := chosen.transfer
	x.token, x.user, x.asked, x.host = p.token, r.App.UID, chosen.link.now, n.host
	x.came, x.alone = chosen.prefix.Link.DownBytes, best.cost
	x.risk = chosen.risk
	x.others = chosen.outlook.others
	x.capacity, x.loose = chosen.link.capacity, !n.sure
	x.stated, x.kind = n.stated, n.kind
	chosen.link.add(x)
	d := policy.Decision{Prefix: chosen.prefix, Reason: p.reason(chosen), Scores: p.scores(chosen), Token: p.token, Lease: lease}
	if chosen != best {
		d.Reason = reasonExplore
	}
	d.Alternates = shape.Ranked(r, chosen.prefix, func(i int) float64 { return p.cands[i].cost })
	shape.Reuse(r, &d, nil)
	if d.Race = d.Socket == nil && p.race(chosen, d.Alternates, n); d.Race {
		d.Lease = policy.Lease{} // the race will show which network is nearer
	}
	return d
}

// capacity returns the rate that the network of the i-th candidate can carry for one more
// flow; 0 if it has never been loaded.
func (p *Policy) capacity(i int) policy.BytesPerSecond {
	if e := &p.cands[i].estimate; !e.assumed {
		return policy.BytesPerSecond(e.capacity)
	}
	return 0
}

// race tells whether to race handshakes over the chosen network and the next one. That
// is so if one of them has an unknown round-trip time, and the next one affords the
// transfer, which goes there if its handshake is the quicker one. If only the time of the
// next one is unknown, the transfer must be better off there, too, in that case.
func (p *Policy) race(chosen *candidate, alternates []*policy.Prefix, n need) bool {
	if len(alternates) == 0 {
		return false
	}
	for i := range p.cands {
		c := &p.cands[i]
		if c.prefix != alternates[0] {
			continue
		}
		switch {
		case chosen.estimate.rttKnown && c.estimate.rttKnown, chosen.estimate.rttKnown && p.near(c, chosen.estimate.rtt, n) > chosen.cost, !c.link.affords(c.prefix, c.transfer.wire):
			return false
		}
		c.link.pay(c.prefix, c.transfer.wire)
		return true
	}
	return false
}

// near is the cost of c if its unknown round-trip time is rtt.
func (p *Policy) near(c *candidate, rtt time.Duration, n need) float64 {
	if c.unproven {
		return c.cost
	}
	at := *c
	at.estimate.rtt = rtt
	o := c.link.preview(c.link.transfer(n.size, rtt, c.trips, c.window), &p.sharing)
	return at.weighed(o, c.estimate.capacity, p.top(), n)
}

// top is the highest capacity of a candidate.
func (p *Policy) top() (top float64) {
	for i := range p.cands {
		top = max(top, p.cands[i].estimate.capacity)
	}
	return top
}

// need is what a request is thought to transfer.
type need struct {
	size float64 // bytes
	harm float64 // weight of the delay of other transfers, relative to its own
	sure bool    // the application states the size
	kind bool    // the size follows from the category
	host *host
	// stated is the size before past errors were corrected.
	stated float64
}

// Assumptions about a transfer that states no size.
const (
	assumedSize  = 30_000 // most objects of web pages are smaller
	assumedQuery = 2000
	assumedBulk  = 5_000_000
	segment      = 4 // seconds of video that a player fetches at once
)

func needOf(s intent.Set) need {
	n := need{size: assumedSize, harm: 1}
	category, _ := s.Category()
	if _, given := s.Category(); given {
		switch category {
		case intent.CategoryQuery, intent.CategoryKeepAlives:
			n.size, n.kind = assumedQuery, true
		case intent.CategoryBulkTransfer, intent.CategoryStream:
			n.size = assumedBulk
			if rate, ok := s.Bitrate(); ok && rate > 0 {
				n.size, n.kind = float64(rate)/8*segment, true
			}
		}
	}
	if size, ok := s.FileSize(); ok && size >= 0 {
		n.size, n.sure = float64(size), true
	}
	if t, ok := s.Timeliness(); ok && t == intent.TimelinessBackgroundTraffic {
		n.harm = 4
	}
	return n
}

// candidate makes the candidate for the i-th prefix.
func (p *Policy) candidate(r *policy.Request, i int, n need) candidate {
	q := r.Prefixes[i]
	l := p.link(q)
	c := candidate{prefix: q, link: l, estimate: l.estimate(q)}
	dest := i < len(r.DestStats) && r.DestStats[i].SRTTMin > 0
	if dest {
		c.estimate.rtt, c.estimate.rttKnown = r.DestStats[i].SRTTMin, true
	}
	c.once = c.estimate.capacity
	l.observe(q, &c.estimate, r.Now, &p.sharing)
	l.as(r.App.UID)
	c.estimate.rtt = l.roundTrip(q, &c.estimate, dest)
	c.trips = setup(r, q)
	if c.trips == 1 {
		c.window = n.host.windowOf(q.ID, l.now, c.estimate.rtt)
	}
	c.transfer = l.transfer(n.size, c.estimate.rtt, c.trips, c.window)
	c.outlook = l.preview(c.transfer, &p.sharing)
	return c
}

func (p *Policy) link(q *policy.Prefix) *link {
	l, ok := p.links.Get(q.ID)
	if !ok {
		l = &link{}
		p.links.Put(q.ID, l)
	}
	return l
}

// setup returns the number of round trips before the first byte.
func setup(r *policy.Request, q *policy.Prefix) int {
	switch {
	case shape.Count(r.Sockets, q) > 0:
		return 1
	case predict.TLS(r):
		return 4
	}
	return 2
}

// weigh sets the candidates' costs and returns the one with the lowest, the first of
// equal ones.
func (p *Policy) weigh(n need) *candidate {
	top, trusted := p.top(), p.trust()
	best := &p.cands[0]
	for i := range p.cands {
		c := &p.cands[i]
		c.cost = c.weighed(c.outlook, c.estimate.capacity, top, n) + p.laggard(c)
		c.hope = c.cost
		unknown := c.estimate.assumed && c.link.now > doubtful // nothing has loaded it for long
		if unknown {
			c.once = max(c.once, mostLikely)
		}
		if unknown || c.link.doubted() {
			c.hope = (time.Duration(c.trips) * c.estimate.rtt).Seconds() + c.transfer.wire/min(c.once, c.transfer.most)
		}
		if c.prefix.Health.State != policy.Up {
			c.cost += suspicion.Seconds()
		}
		if c.unproven = trusted && c.beyondTrial(1); c.unproven {
			c.cost = math.Inf(1)
		}
		c.feared = max(c.cost, c.outlook.finish.Seconds()*math.Exp(c.link.last))
		if c.cost < best.cost {
			best = c
		}
	}
	return best
}

// weighed returns the cost of a transfer in seconds. The preferences for fast networks
// and for the default one are applied only to the part of the time that depends on
// capacity.
func (c *candidate) weighed(o outlook, capacity, top float64, n need) float64 {
	distance := (time.Duration(c.trips) * c.estimate.rtt).Seconds()
	load := max(0, o.finish.Seconds()*c.link.bias()-distance) + n.harm*o.harm.Seconds()
	load *= 1 + slowness*(1-capacity/top)
	if !c.prefix.Default {
		load *= 1 + loyalty
	}
	return distance + load
}

// laggard returns by how many seconds the transfer would be over later on c than all
// transfers under way on another network would be with this one. What spares the others so
// much makes the whole of a page later.
func (p *Policy) laggard(c *candidate) float64 {
	least := c.outlook.finish
	for i := range p.cands {
		if o := &p.cands[i]; o != c && o.outlook.others > 0 && o.prefix.Health.State == policy.Up {
			least = min(least, o.outlook.last)
		}
	}
	return (c.outlook.finish - least).Seconds()
}

// trusted tells whether c is a default network without evidence against it.
func (c *candidate) trusted() bool {
	return c.prefix.Default && c.estimate.assumed && c.link.ceiling == 0 && c.prefix.Health.State == policy.Up
}

// trust tells whether one of the candidates is trusted.
func (p *Policy) trust() bool {
	for i := range p.cands {
		if p.cands[i].trusted() {
			return true
		}
	}
	return false
}

// beyondTrial tells whether n such transfers are too much to try c, over which no data
// has ever come: more bytes would be under way there than a sender sends before it
// waits for an answer.
func (c *candidate) beyondTrial(n float64) bool {
	return !c.prefix.Default && c.estimate.assumed && c.prefix.Link.DownRateMax < quiet &&
		rest(c.link.transfers)+n*c.transfer.left > predict.InitialWindow
}

func (p *Policy) reason(best *candidate) string {
	if len(p.cands) == 1 {
		return reasonOnly
	}
	for i := range p.cands {
		if p.cands[i].outlook.finish < best.outlook.finish {
			return reasonWeighed
		}
	}
	return reasonEarliest
}

// scores lists the figures that were compared. All terms share one allocation, because
// decisions are frequent.
func (p *Policy) scores(best *candidate) []policy.Score {
	const n = 4
	scores := make([]policy.Score, len(p.cands))
	terms := make([]policy.Term, 0, n*len(p.cands))
	for i := range p.cands {
		c := &p.cands[i]
		rtt, capacity := c.estimate.rtt.Seconds()*1000, c.estimate.capacity
		if !c.estimate.rttKnown {
			rtt = math.NaN()
		}
		if !c.estimate.capacityKnown {
			capacity = math.NaN()
		}
		terms = append(terms,
			policy.Term{Name: "rtt", Unit: policy.Milliseconds, Value: rtt, Time: policy.MetricSRTTMin.Time(c.prefix)},
			policy.Term{Name: "capacity", Unit: policy.ByteRate, Value: capacity, Time: policy.MetricDownRateMax.Time(c.prefix)},
			policy.Term{Name: "transfers", Unit: policy.Count, Value: float64(c.outlook.others)},
			policy.Term{Name: "delay of others", Unit: policy.Milliseconds, Value: c.outlook.harm.Seconds() * 1000})
		scores[i] = policy.Score{Prefix: c.prefix, Predicted: c.outlook.finish, Terms: terms[len(terms)-n : len(terms) : len(terms)]}
		switch {
		case c == best:
			scores[i].Note = "chosen"
		case c.unproven:
			scores[i].Note = "to be tried with little first"
		}
	}
	return scores
}
