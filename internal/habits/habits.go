// Package habits learns how many bytes connections to each destination carry, and how
// long they last. It derives the intents of further connections from that.
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
	// minWeight is the weight from which an average counts: three connections, the
	// latest ones not long ago.
	minWeight = 2.5
	// maxWeight bounds the weight, so that the average follows changes.
	maxWeight = 20
	// maxSpread is the factor (one standard deviation of the logarithms) beyond which
	// sizes have no typical value.
	maxSpread = 4.0

	// These figures define the categories of package intent. A size between two
	// categories gets none.
	bulkBytes   = 1 << 20
	bulkRate    = 100 << 10 // bytes per second
	querySize   = 64 << 10
	queryTime   = 10 * time.Second
	longTime    = 2 * time.Minute
	longMaxRate = 1 << 10 // bytes per second
)

// Dest is the destination of connections: a name or an address, and a port.
type Dest struct {
	Host string // in any case; or another text, if the user keeps further things apart
	Port uint16
}

// normal returns the form in which destinations are remembered.
func (d Dest) normal() Dest { return Dest{rules.NormalName(d.Host), d.Port} }

// Settings say whether and how to learn.
type Settings struct {
	On       bool
	File     string        // where the habits are saved; "": in memory only
	Hosts    int           // the greatest number of remembered destinations
	HalfLife time.Duration // time after which an observation counts half
}

// Defaults returns the settings of a file that sets none.
func Defaults() Settings { return Settings{On: true, Hosts: 4096, HalfLife: 7 * 24 * time.Hour} }

// Describe adds the settings to the description of a block.
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

// A Learner remembers how many bytes connections to each host and port carry, and for
// how long. It averages logarithms, because sizes range over many powers of ten. Old
// connections count less. A Learner is safe for concurrent use.
type Learner struct {
	now func() time.Time

	mu       sync.Mutex
	hosts    int
	halfLife time.Duration
	byDest   map[Dest]*list.Element // of *habit
	recent   *list.List             // most recently seen first
	changed  bool                   // something was learnt since the last save
}

// habit is what was seen about one destination.
type habit struct {
	Dest     Dest
	Seen     time.Time // last
	Weight   float64   // as of Seen
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

// sortLocked sorts the habits, the latest seen first.
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

// weight returns the weight that is left at the time now.
func (h *habit) weight(now time.Time, halfLife time.Duration) float64 {
	age := max(0, now.Sub(h.Seen))
	return h.Weight * math.Exp2(-age.Seconds()/halfLife.Seconds())
}

func (a *average) add(x, weight float64) {
	a.Mean = (a.Mean*weight + x) / (weight + 1)
	a.Square = (a.Square*weight + x*x) / (weight + 1)
}

// typical returns exp(mean) - 1. ok is false if the values spread too far to have a
// typical one.
func (a average) typical() (float64, bool) {
	spread := math.Sqrt(max(0, a.Square-a.Mean*a.Mean))
	return math.Expm1(a.Mean), spread <= math.Log(maxSpread)
}

// Typical returns the intents to expect of a connection. It returns none until several
// similar connections were seen.
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
