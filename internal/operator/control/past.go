package control

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const (
	// pastStep is the time between two samples. pastLen is the number of remembered
	// samples: ten minutes, the same time as for the maxima of [Path] and [Link].
	pastStep = time.Second
	pastLen  = 600
	// pastNetworks bounds the remembered networks, including those that are gone. They
	// take up to 5 MB.
	pastNetworks = 512
	// pastChanges bounds the changes that are remembered.
	pastChanges = 256
	// pastGap is the number of missing samples up to which a gap is filled with the
	// sample before it. The passes of an idle daemon are up to four samples apart, but
	// not exactly.
	pastGap = 4
)

// Past remembers what the networks did in the last ten minutes, for [History]. Use
// NewPast; the zero value is not usable. It is safe for concurrent use.
type Past struct {
	mu     sync.Mutex
	begun  time.Time // time of sample 1
	last   uint64    // number of the latest sample; 0: none
	tracks map[policy.PrefixID]*track

	view    *mam.View    // the latest; nil: none yet
	changes []pastChange // oldest first
	seq     uint64       // number of the latest change
}

// track is what is remembered about a network.
type track struct {
	prefix  *policy.Prefix // the latest
	first   uint64         // number of the oldest sample that it has had
	last    uint64         // number of its latest sample; less than Past.last if the network is gone
	samples [pastLen]sample
}

// sample is what is remembered about one second.
type sample struct {
	rtt, down, up float32 // ms and bytes per second; NaN: unknown
	signal        int8    // dBm; 0: unknown
	health        byte    // a letter as in PrefixHistory.Health
}

var unknownSample = sample{rtt: float32(math.NaN()), down: float32(math.NaN()), up: float32(math.NaN()), health: '-'}

type pastChange struct {
	seq    uint64
	number uint64 // number of the latest sample at that time
	time   time.Time
	change string
	differ []string
	prefix *policy.Prefix
}

// NewPast makes a Past that remembers nothing yet.
func NewPast() *Past { return &Past{tracks: map[policy.PrefixID]*track{}} }

// Note takes a View, which is current from v.Time on. Only the first View in a second
// is sampled. ended holds the round-trip times of connections that have ended within the
// last second. They are what is known of that second where no connection lives.
func (p *Past) Note(v *mam.View, ended map[policy.PrefixID]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun.IsZero() {
		p.begun = v.Time
	}
	p.compareLocked(v)
	// The difference is right even if the wall clock is set, because times of one
	// process have monotonic readings.
	number := max(p.last, uint64(max(v.Time.Sub(p.begun), 0)/pastStep)+1)
	if number == p.last {
		return
	}
	for _, x := range v.Prefixes {
		t := p.trackLocked(x, number)
		if t == nil {
			continue
		}
		for n := t.last + 1; n < number; n++ {
			if number-n >= pastLen {
				n = number - pastLen + 1
			}
			s := unknownSample
			if number-t.last <= pastGap+1 {
				s = t.samples[t.last%pastLen]
			}
			t.samples[n%pastLen] = s
		}
		t.prefix, t.last = x, number
		t.samples[number%pastLen] = sampleOf(x, ended[x.ID])
	}
	p.last = number
	for id, t := range p.tracks {
		if t.last+pastLen <= number {
			delete(p.tracks, id)
		}
	}
}

// trackLocked returns the track of a network; number is its next sample. It returns nil
// if there is no room.
func (p *Past) trackLocked(x *policy.Prefix, number uint64) *track {
	if t := p.tracks[x.ID]; t != nil {
		return t
	}
	if len(p.tracks) >= pastNetworks && !p.forgetLocked() {
		return nil
	}
	t := &track{first: number, last: number - 1}
	p.tracks[x.ID] = t
	return t
}

// forgetLocked forgets the network that has been gone for the longest time. It returns
// false if none is gone.
func (p *Past) forgetLocked() bool {
	var oldest policy.PrefixID
	least := p.last
	for id, t := range p.tracks {
		if t.last < least {
			oldest, least = id, t.last
		}
	}
	if least == p.last {
		return false
	}
	delete(p.tracks, oldest)
	return true
}

// compareLocked notes the changes since the previous View.
func (p *Past) compareLocked(v *mam.View) {
	if p.view != nil {
		for _, d := range differences(v, p.view) {
			p.changedLocked(v.Time, d.change, d.differs, d.prefix)
		}
	}
	p.view = v
}

func (p *Past) changedLocked(at time.Time, change string, differ []string, x *policy.Prefix) {
	if len(p.changes) == pastChanges {
		p.changes = append(p.changes[:0], p.changes[1:]...)
	}
	p.seq++
	p.changes = append(p.changes, pastChange{p.seq, p.last, at, change, differ, x})
}

func compareIDs(a, b policy.PrefixID) int {
	return cmp.Or(cmp.Compare(a.Interface, b.Interface), a.Prefix.Compare(b.Prefix))
}

func sampleOf(p *policy.Prefix, ended time.Duration) sample {
	s := unknownSample
	if v := measured(policy.MetricSRTTMedian, p); v != nil {
		s.rtt = float32(*v)
	}
	if ended > 0 && p.Stats.Conns == 0 {
		s.rtt = float32(ended) / float32(time.Millisecond)
	}
	if v := load(policy.MetricDownSMA, policy.MetricDownRate, p); v != nil {
		s.down = float32(*v)
	}
	if v := measured(policy.MetricUpRate, p); v != nil {
		s.up = float32(*v)
	}
	if p.Wifi != nil {
		s.signal = p.Wifi.Signal
	}
	switch p.Health.State {
	case policy.Up:
		s.health = 'u'
	case policy.Suspect:
		s.health = 's'
	case policy.Down:
		s.health = 'd'
	}
	return s
}

// load returns the first of two metrics that is known.
func load(average, now policy.Metric, p *policy.Prefix) *float64 {
	if v := measured(average, p); v != nil {
		return v
	}
	return measured(now, p)
}

// networks returns the remembered networks, in the order of their prefixes, and the
// number and the time of the latest sample.
func (p *Past) networks() (list []*track, last uint64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tracks {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *track) int { return compareIDs(a.prefix.ID, b.prefix.ID) })
	return list, p.last, p.begun.Add(time.Duration(max(p.last, 1)-1) * pastStep)
}

// history returns what is remembered about t after sample since, up to sample to.
func (p *Past) history(t *track, since, to uint64) PrefixHistory {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := t.prefix
	to = min(to, t.last)
	from := max(since+1, t.first, max(p.last, pastLen)-pastLen+1)
	out := PrefixHistory{
		Prefix: x.CIDR.String(), Name: text(x.Name), Interface: x.Interface, Gone: t.last < p.last, First: from,
		RTT: []Sample{}, Down: []Sample{}, Up: []Sample{}, Signal: []Sample{},
	}
	var health []byte
	for n := from; n <= to; n++ {
		s := t.samples[n%pastLen]
		out.RTT, out.Down, out.Up = append(out.RTT, Sample(s.rtt)), append(out.Down, Sample(s.down)), append(out.Up, Sample(s.up))
		signal := Sample(math.NaN())
		if s.signal != 0 {
			signal = Sample(s.signal)
		}
		out.Signal, health = append(out.Signal, signal), append(health, s.health)
	}
	out.Health = string(health)
	for _, list := range []*[]Sample{&out.RTT, &out.Down, &out.Up, &out.Signal} {
		if !slices.ContainsFunc(*list, Sample.Known) {
			*list = []Sample{}
		}
	}
	return out
}

// changesSince returns the changes during that sample and later.
func (p *Past) changesSince(number uint64) []NetworkChange {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []NetworkChange{}
	for _, c := range p.changes {
		if c.number < number || c.number+pastLen <= p.last {
			continue
		}
		x := c.prefix
		out = append(out, NetworkChange{
			Seq: c.seq, Time: c.time, Change: c.change, Differs: c.differ, Prefix: x.CIDR.String(), Name: text(x.Name), Interface: x.Interface,
			Cost: x.Cost.String(), Health: x.Health.State.String(), Reason: text(x.Health.Reason),
		})
	}
	return out
}
