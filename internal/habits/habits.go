// Package habits learns how much goes over connections to each destination, and for
// how long, and says what intents that stands for.
package habits

import (
	"container/list"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/rules"
)

const (
	// An average counts from this weight on: three connections, the last ones not
	// long ago.
	minWeight = 2.5
	// The weight does not grow beyond this, so that the average follows changes.
	maxWeight = 20
	// Sizes that differ by more than this factor (one standard deviation of their
	// logarithms) have no typical value.
	maxSpread = 4.0

	// What the categories of package intent mean in figures. A size between two
	// categories is given none.
	bulkBytes   = 1 << 20
	bulkRate    = 100 << 10 // bytes per second
	querySize   = 64 << 10
	queryTime   = 10 * time.Second
	longTime    = 2 * time.Minute
	longMaxRate = 1 << 10 // bytes per second
)

// Dest is where connections lead: a name or an address, and a port.
type Dest struct {
	Host string
	Port uint16
}

// normal is the form that destinations are remembered in.
func (d Dest) normal() Dest { return Dest{rules.NormalName(d.Host), d.Port} }

// Settings say whether and how is learnt.
type Settings struct {
	On       bool
	File     string        // where it is kept; "": in memory only
	Hosts    int           // how many destinations are remembered at most
	HalfLife time.Duration // after this time what was seen counts half as much
}

// Defaults are the settings of a file that says nothing.
func Defaults() Settings { return Settings{On: true, Hosts: 4096, HalfLife: 7 * 24 * time.Hour} }

// Describe lets a block have the settings.
func (s *Settings) Describe(b *config.Body) {
	b.Bool("enabled", &s.On)
	config.Text(b, "file", &s.File, func(text string) (string, error) {
		if text == "" {
			return "", errors.New("must not be empty")
		}
		return text, nil
	})
	b.Int("hosts", &s.Hosts, 1, 1_000_000)
	b.Duration("half_life", &s.HalfLife)
}

// A Learner remembers how much goes over connections to each host and port, and
// for how long. It averages logarithms, as sizes spread over many powers of ten. Old
// connections count less. A Learner is safe for concurrent use.
type Learner struct {
	now func() time.Time

	mu       sync.Mutex
	hosts    int
	halfLife time.Duration
	byDest   map[Dest]*list.Element // of *habit
	recent   *list.List             // most recently seen first
	changed  bool                   // since it was last saved
}

// habit is what was seen of one destination.
type habit struct {
	Dest     Dest
	Seen     time.Time // last
	Weight   float64   // at that time
	Size     average   // of ln(1 + bytes)
	Duration average   // of ln(1 + seconds)
}

// average is a weighted mean, with the mean of the squares for the spread.
type average struct{ Mean, Square float64 }

// New returns a Learner that has seen nothing.
func New(c Settings) *Learner {
	l := &Learner{now: time.Now, byDest: map[Dest]*list.Element{}, recent: list.New()}
	l.Configure(c)
	return l
}

// Configure changes the bounds.
func (l *Learner) Configure(c Settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts, l.halfLife = c.Hosts, c.HalfLife
	l.boundLocked()
}

// sortLocked puts what was seen last first.
func (l *Learner) sortLocked() {
	all := make([]*habit, 0, l.recent.Len())
	for e := l.recent.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*habit))
	}
	slices.SortStableFunc(all, func(a, b *habit) int { return b.Seen.Compare(a.Seen) })
	l.recent.Init()
	for _, h := range all {
		l.byDest[h.Dest] = l.recent.PushBack(h)
	}
}

func (l *Learner) boundLocked() {
	for l.recent.Len() > l.hosts {
		last := l.recent.Back()
		delete(l.byDest, last.Value.(*habit).Dest)
		l.recent.Remove(last)
	}
}

// See notes a connection that has ended.
func (l *Learner) See(dest Dest, bytes int64, took time.Duration) {
	dest = dest.normal()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = true
	now := l.now()
	e := l.byDest[dest]
	if e == nil {
		e = l.recent.PushFront(&habit{Dest: dest, Seen: now})
		l.byDest[dest] = e
		l.boundLocked()
	}
	l.recent.MoveToFront(e)
	h := e.Value.(*habit)
	w := h.weight(now, l.halfLife)
	h.Size.add(math.Log1p(float64(bytes)), w)
	h.Duration.add(math.Log1p(took.Seconds()), w)
	h.Weight, h.Seen = min(w+1, maxWeight), now
}

// weight is what remains at the time now.
func (h *habit) weight(now time.Time, halfLife time.Duration) float64 {
	age := max(0, now.Sub(h.Seen))
	return h.Weight * math.Exp2(-age.Seconds()/halfLife.Seconds())
}

func (a *average) add(x, weight float64) {
	a.Mean = (a.Mean*weight + x) / (weight + 1)
	a.Square = (a.Square*weight + x*x) / (weight + 1)
}

// typical returns exp(mean) - 1, and false if values spread too far for a typical one.
func (a average) typical() (float64, bool) {
	spread := math.Sqrt(max(0, a.Square-a.Mean*a.Mean))
	return math.Expm1(a.Mean), spread <= math.Log(maxSpread)
}

// Typical says what can be expected of a connection: nothing before it has seen
// several that were alike.
func (l *Learner) Typical(dest Dest) intent.Set {
	var s intent.Set
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byDest[dest.normal()]
	if e == nil {
		return s
	}
	h := e.Value.(*habit)
	if h.weight(l.now(), l.halfLife) < minWeight {
		return s
	}
	size, sizeKnown := h.Size.typical()
	seconds, timeKnown := h.Duration.typical()
	if sizeKnown {
		s = s.WithFileSize(int64(math.Round(size)))
	}
	if timeKnown {
		s = s.With(intent.OptDuration, int64(math.Round(seconds)))
	}
	if !sizeKnown || !timeKnown {
		return s
	}
	switch rate := size / max(seconds, 0.001); {
	case size >= bulkBytes && rate >= bulkRate:
		s = s.WithCategory(intent.CategoryBulkTransfer)
	case size <= querySize && seconds <= queryTime.Seconds():
		s = s.WithCategory(intent.CategoryQuery)
	case seconds >= longTime.Seconds() && rate <= longMaxRate:
		s = s.WithCategory(intent.CategoryKeepAlives)
	}
	return s
}
