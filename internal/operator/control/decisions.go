package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/mam"
)

const (
	// defaultLimit is the number of decisions in an answer, if the request has no
	// limit.
	defaultLimit = 100
	// MaxDecisions bounds the decisions in an answer. Each takes about a kilobyte.
	MaxDecisions = 10000
	// chunk is the number of decisions that are copied at a time. The engine's ring is
	// locked for that, for some 10 us.
	chunk = 64
)

// decisions lists the decisions above since that match a Filter, oldest first. Without
// since it lists the latest; limit bounds their number. They are written while they are
// read, so that each of many or slow clients holds only a part of the list in memory.
func (s *Server) decisions(w http.ResponseWriter, r *http.Request) {
	limit, err := parameter(r, "limit", defaultLimit)
	if err != nil {
		writeFailure(w, err)
		return
	}
	since, err := parameter(r, "since", 0)
	if err != nil {
		writeFailure(w, err)
		return
	}
	wanted, err := filterOf(r)
	if err != nil {
		writeFailure(w, err)
		return
	}
	limit = min(limit, MaxDecisions)
	p, ring := peerFrom(r.Context()), s.opts.Manager.Decisions()
	out := Decisions{Now: s.opts.now(), Last: ring.Count(), Complete: s.guard.rights(p).ReadAll, Decisions: []Decision{}}
	sees := func(rec *mam.Record) bool { return s.guard.sees(p, rec) && wanted.matches(rec) }
	switch latest := !r.URL.Query().Has("since"); {
	case latest && out.Complete && wanted.Any():
		since = max(out.Last, limit) - limit
	case latest:
		since = sinceLatest(ring, sees, out.Last, limit)
	}
	frame, err := json.Marshal(out)
	before, after, ok := strings.Cut(string(frame), "[]")
	if err != nil || !ok {
		writeFailure(w, fmt.Errorf("encode the decisions: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	list := listWriter{w: bufio.NewWriterSize(w, listBuffer)}
	list.text(before + "[")
	for rec := range remembered(ring, since) {
		if limit == 0 || rec.Seq > out.Last || list.err != nil {
			break
		}
		if sees(rec) {
			list.add(decision(rec))
			limit--
		}
	}
	list.text("]" + after + "\n")
	_ = list.w.Flush() // an error means that the client has gone
}

// sinceLatest returns the number after which there are limit decisions that the peer
// may see, up to last.
func sinceLatest(ring *mam.Ring, sees func(*mam.Record) bool, last, limit uint64) uint64 {
	if limit == 0 {
		return last
	}
	seen := make([]uint64, 0, limit) // a ring of the latest ones
	n := uint64(0)
	for rec := range remembered(ring, 0) {
		switch {
		case rec.Seq > last || !sees(rec):
		case n < limit:
			seen = append(seen, rec.Seq)
			n++
		default:
			seen[n%limit] = rec.Seq
			n++
		}
	}
	switch {
	case n == 0:
		return last
	case n < limit:
		return seen[0] - 1
	}
	return seen[n%limit] - 1
}

// listBuffer is how much of a list is collected before it is written.
const listBuffer = 16 << 10

// listWriter writes a list in JSON.
type listWriter struct {
	w    *bufio.Writer
	some bool // it has an element already
	err  error
}

func (l *listWriter) text(s string) {
	if _, err := l.w.WriteString(s); err != nil {
		l.err = err
	}
}

func (l *listWriter) add(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		l.err = err
		return
	}
	if l.some {
		l.text(",")
	}
	l.some = true
	if _, err := l.w.Write(b); err != nil {
		l.err = err
	}
}

func parameter(r *http.Request, name string, def uint64) (uint64, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, badRequest(fmt.Errorf("%s must be a number, not %q", name, v))
	}
	return n, nil
}

// remembered yields the remembered decisions above since, oldest first. It never blocks
// the engine for long. A record is valid during one iteration.
func remembered(ring *mam.Ring, since uint64) iter.Seq[*mam.Record] {
	return func(yield func(*mam.Record) bool) {
		var recs []mam.Record
		for {
			recs = ring.AppendNext(recs[:0], since, chunk)
			for i := range recs {
				if !yield(&recs[i]) {
					return
				}
				since = recs[i].Seq
			}
			if len(recs) < chunk {
				return
			}
		}
	}
}

// timings computes DecisionCounts, at most once a second: each computation reads the
// whole ring.
type timings struct {
	mu   sync.Mutex
	at   time.Time
	last DecisionCounts
}

func (t *timings) counts(ring *mam.Ring, now time.Time) DecisionCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := now.Sub(t.at); t.at.IsZero() || d < 0 || d >= time.Second {
		t.at, t.last = now, count(ring, now)
	}
	t.last.Total = ring.Count()
	return t.last
}

func count(ring *mam.Ring, now time.Time) DecisionCounts {
	var out DecisionCounts
	var took []time.Duration
	var first mam.Record
	recent := 0
	for rec := range remembered(ring, 0) {
		if out.Remembered == 0 {
			first = *rec
		}
		out.Remembered++
		took = append(took, rec.Took)
		if rec.Fallback != "" {
			out.Fallbacks++
		}
		if now.Sub(rec.Time) < time.Minute {
			recent++
		}
	}
	out.PerMinute = float64(recent)
	// If the ring has lost decisions of the last minute, those that are left are scaled
	// up.
	if span := now.Sub(first.Time); recent == out.Remembered && first.Seq > 1 && span > 0 {
		out.PerMinute *= float64(time.Minute) / float64(span)
	}
	if len(took) > 0 {
		slices.Sort(took)
		out.TookP50MS, out.TookP99MS = number(millis(quantile(took, 50))), number(millis(quantile(took, 99)))
	}
	return out
}

// quantile returns the smallest value that at least percent of the sorted list do not
// exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}
