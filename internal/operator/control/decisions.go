package control

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/socket-intents/mamma/mam"
)

const (
	// defaultLimit is how many decisions are shown if nobody says.
	defaultLimit = 100
	// maxLimit bounds an answer, at about a kilobyte per decision.
	maxLimit = 10000
	// chunk is how many decisions are copied at a time. The engine's ring is locked
	// meanwhile, for some 50 us.
	chunk = 256
)

// decisions lists the decisions above since, oldest first; without since the
// latest. limit bounds how many.
func (s *Server) decisions(r *http.Request) (any, error) {
	limit, err := parameter(r, "limit", defaultLimit)
	if err != nil {
		return nil, err
	}
	limit = min(limit, maxLimit)
	if limit == 0 {
		return Decisions{Now: s.opts.now(), Last: s.opts.Manager.Decisions().Count(), Complete: s.guard.rights(peerFrom(r.Context())).ReadAll, Decisions: []Decision{}}, nil
	}
	since, err := parameter(r, "since", 0)
	if err != nil {
		return nil, err
	}
	p := peerFrom(r.Context())
	ring := s.opts.Manager.Decisions()
	out := Decisions{Now: s.opts.now(), Last: ring.Count(), Complete: s.guard.rights(p).ReadAll, Decisions: []Decision{}}
	latest := !r.URL.Query().Has("since")
	if latest && out.Complete && out.Last > limit {
		since = out.Last - limit
	}
	// Keep the records, not their JSON form, which is several times as large. Of the
	// latest records, keep hardly more than will be shown.
	var list []mam.Record
	for rec := range remembered(ring, since) {
		if rec.Seq > out.Last || !latest && uint64(len(list)) == limit {
			break
		}
		if !s.guard.sees(p, rec) {
			continue
		}
		if latest && uint64(len(list)) >= 2*limit {
			list = append(list[:0], list[limit:]...)
		}
		list = append(list, *rec)
	}
	if n := uint64(len(list)); latest && n > limit {
		list = list[n-limit:]
	}
	for i := range list {
		out.Decisions = append(out.Decisions, decision(&list[i]))
	}
	return out, nil
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

// remembered yields the decisions above since that are remembered, oldest
// first, without keeping the engine waiting for long. The record is valid during one turn.
func remembered(ring *mam.Ring, since uint64) iter.Seq[*mam.Record] {
	return func(yield func(*mam.Record) bool) {
		for {
			recs := ring.Next(since, chunk)
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
	// If the ring has lost some decisions of the last minute, those that are left stand
	// for all.
	if span := now.Sub(first.Time); recent == out.Remembered && first.Seq > 1 && span > 0 {
		out.PerMinute *= float64(time.Minute) / float64(span)
	}
	if len(took) > 0 {
		slices.Sort(took)
		out.TookP50MS, out.TookP99MS = number(millis(quantile(took, 50))), number(millis(quantile(took, 99)))
	}
	return out
}

// quantile is the smallest value that percent of the sorted list do not exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}
