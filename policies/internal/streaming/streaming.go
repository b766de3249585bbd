// Package streaming holds what the two policies for adaptive streaming, video and
// mptcp_selective, have in common: how they read the intents, and a counter per prefix
// (doc/original/policies.md sections 15 and 19).
package streaming

import (
	"strconv"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/recent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// The reasons that both policies give.
const (
	ReasonQuery   = "query: lowest RTT"
	ReasonControl = "control traffic: prefix passed over most often"
	ReasonOther   = "no query, bulk transfer or control traffic: default"
	ReasonNoRTT   = "query, no RTT known: default"
	ReasonIdle    = "control traffic, no prefix passed over: default"
)

// SegmentSeconds is the length of a video segment.
const SegmentSeconds = 4

// NotGiven stands for an intent that is not given.
const NotGiven = -1

// Intents are the intents that the policies read.
type Intents struct {
	Category intent.Category
	FileSize int64 // for the log only
	Bitrate  int64 // bits per second
	Duration int64 // play-out buffer in milliseconds
}

// Read reads the intents of r.
func Read(r *policy.Request) Intents {
	get := func(o intent.Option) int64 {
		if v, ok := r.Intents.Get(o); ok {
			return v
		}
		return NotGiven
	}
	category := intent.Category(NotGiven)
	if c, ok := r.Intents.Category(); ok {
		category = c
	}
	return Intents{category, get(intent.OptFileSize), get(intent.OptBitrate), get(intent.OptDuration)}
}

// SegmentSize returns the size of a segment in bytes. The rate is first cut to whole
// bytes per second, as in the original.
func (n Intents) SegmentSize() int64 { return n.Bitrate / 8 * SegmentSeconds }

// AppendColumns appends columns of the policy log, each with a comma.
func AppendColumns(b []byte, values ...int64) []byte {
	for _, v := range values {
		b = append(strconv.AppendInt(b, v, 10), ',')
	}
	return b
}

// Bound answers a request whose socket the application bound itself. An idle socket on
// the prefix of the bound address is reused. A name is looked up at the resolver of
// that prefix, but at the default one if idle sockets were offered.
func Bound(r *policy.Request) policy.Decision {
	resolution := policy.ResolveOnPrefix
	if r.Kind == policy.SocketChoose {
		resolution = policy.ResolveDefault
	}
	return shape.Bound(r, resolution, true)
}

// maxPrefixes bounds the prefixes that have a counter.
const maxPrefixes = 1024

// Counters holds a counter per prefix, 0 at first. Use NewCounters; the zero value is
// not usable.
type Counters struct {
	counts *recent.Map[policy.PrefixID, int]
}

// NewCounters returns counters that are all 0.
func NewCounters() Counters { return Counters{recent.New[policy.PrefixID, int](maxPrefixes)} }

// Of returns the counter of a prefix.
func (n Counters) Of(id policy.PrefixID) int {
	v, _ := n.counts.Get(id)
	return v
}

// Set sets the counter of a prefix.
func (n Counters) Set(id policy.PrefixID, v int) { n.counts.Put(id, v) }

// Highest returns the prefix with the highest counter above 0, and the first of equal
// ones. It returns nil if all counters are 0.
func (n Counters) Highest(list []*policy.Prefix) *policy.Prefix {
	var best *policy.Prefix
	highest := 0
	for _, p := range list {
		if v := n.Of(p.ID); v > highest {
			best, highest = p, v
		}
	}
	return best
}

// PassOver adds one to the counter of each prefix in list except p.
func (n Counters) PassOver(list []*policy.Prefix, p *policy.Prefix) {
	for _, q := range list {
		if q != p {
			n.Set(q.ID, n.Of(q.ID)+1)
		}
	}
}

// Scores adds the counters of all candidates to the decision, with note at the chosen
// one.
func (n Counters) Scores(d *policy.Decision) {
	terms := make([]policy.Term, len(d.Scores))
	for i := range d.Scores {
		terms[i] = policy.Term{Name: "passed over", Unit: policy.Count, Value: float64(n.Of(d.Scores[i].Prefix.ID))}
		d.Scores[i].Terms = terms[i : i+1 : i+1]
	}
}
