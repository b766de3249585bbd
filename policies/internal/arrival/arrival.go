// Package arrival is what the earliest-arrival policies share. For each candidate it
// predicts when the transfer would be complete. If the policy has a latency test, it
// tests whether latency dominates the transfer. Then it answers with the winner
// (doc/original/policies.md sections 9 to 14).
//
// A policy of the family embeds a Base and sets the fields in which it differs.
package arrival

import (
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// The reasons that policies of the family give.
const (
	ReasonNoSize   = "no file size given: default"
	ReasonLowRTT   = "latency-dominated, lowest RTT"
	ReasonShortest = "shortest predicted time"
	ReasonCapacity = "capacity-dominated, shortest predicted time"
	ReasonNothing  = "nothing predictable: default"
)

// Rule is the rule that decided.
type Rule uint8

// The rules.
const (
	Bound         Rule = iota // nothing was decided
	NoSize                    // no file size is stated: default prefix
	LowRTT                    // latency dominates: prefix with the lowest round-trip time
	Fastest                   // the predicted times decided
	TooShort                  // the best prediction is not above predict.Epsilon: default prefix
	Unpredictable             // no prediction: default prefix
)

// Candidate is one prefix with the compared figures. An RTT or MinRTT of 0 is unknown.
// Time is predict.Unknown if nothing can be predicted.
type Candidate struct {
	Prefix   *policy.Prefix
	Reuse    int                   // number of idle sockets offered on the prefix
	RTT      predict.Millis        // used for the prediction
	Capacity policy.BytesPerSecond // used for the prediction; negative: unknown
	Time     predict.Millis

	// The fields below are for the latency test, if the policy has one.
	MinRTT       predict.Millis
	TestCapacity policy.BytesPerSecond
	LatencyPart  predict.Millis
	CapacityPart predict.Millis

	Probability float64 // set by a Draw function; 0: none
}

// Result says how the last decision was made, for log lines.
type Result struct {
	Rule   Rule
	Winner *Candidate     // set for LowRTT, Fastest and TooShort, else nil
	Time   predict.Millis // the time that the log names
}

// Base makes the decisions. The zero value is the policy earliest_arrival: there is no
// latency test, and the shortest predicted time wins.
type Base struct {
	// File is the name of the policy log; "": none.
	File string
	// Inputs returns the round-trip time and the capacity for the prediction. If it is
	// nil, these are srtt_median_recent and predict.FreeCapacity.
	Inputs func(*policy.Prefix) (predict.Millis, policy.BytesPerSecond)
	// TestCapacity returns the capacity for the latency test. If it is nil, there is no
	// test.
	TestCapacity func(*policy.Prefix) policy.BytesPerSecond
	// PlainLatency leaves the round trips of TLS out of the latency part.
	PlainLatency bool
	// Draw chooses among the predicted candidates instead of the shortest time. It
	// returns nil if none is predicted, and may note probabilities in the candidates.
	Draw       func([]Candidate) *Candidate
	DrawReason string
	// Counts counts the active transfers. If it is nil, nothing is counted.
	Counts *Counts

	cands  []Candidate
	inUse  []bool // by index of the offered socket
	result Result
}

// Candidates returns what the last decision compared. The next decision overwrites it.
func (b *Base) Candidates() []Candidate { return b.cands }

// Result says how the last decision was made.
func (b *Base) Result() Result { return b.result }

// LogFile returns the setting logfile.
func (b *Base) LogFile() string { return b.File }

// Annotate marks default prefixes.
func (b *Base) Annotate(p *policy.Prefix) string { return policy.AnnotateDefault(p) }

// Choose decides by the file size intent. Without that intent it chooses the default
// prefix.
func (b *Base) Choose(r *policy.Request) policy.Decision {
	b.start(r)
	if r.Bound.IsValid() {
		return shape.Bound(r, policy.ResolveDefault, true)
	}
	size, given := r.Intents.FileSize()
	if given && b.Counts != nil {
		b.Counts.update(r, b.cands, b.inUse)
	}
	for i := range b.cands {
		b.fill(&b.cands[i], size, given, predict.TLS(r))
	}
	reason := ReasonNoSize
	b.result.Rule = NoSize
	if given {
		reason = b.decide()
	}
	return b.answer(r, reason)
}

// start lists the candidates and the sockets offered on them.
func (b *Base) start(r *policy.Request) {
	b.result = Result{}
	b.cands = b.cands[:0]
	for _, p := range r.Prefixes {
		b.cands = append(b.cands, Candidate{Prefix: p, Reuse: shape.Count(r.Sockets, p), Time: predict.Unknown})
	}
	b.inUse = b.inUse[:0]
	for range r.Sockets {
		b.inUse = append(b.inUse, false)
	}
}

func (b *Base) fill(c *Candidate, size int64, given, tls bool) {
	if b.Inputs != nil {
		c.RTT, c.Capacity = b.Inputs(c.Prefix)
	} else {
		c.RTT, c.Capacity = predict.Millis(predict.Value(policy.MetricSRTTMedian, c.Prefix)), predict.FreeCapacity(c.Prefix)
	}
	if given {
		c.Time = predict.Completion(size, c.Capacity, c.RTT, c.Reuse > 0, tls)
	}
	if b.TestCapacity == nil && b.Counts == nil {
		return
	}
	c.MinRTT = predict.Millis(predict.Value(policy.MetricSRTTMin, c.Prefix))
	if b.Counts != nil {
		highest := policy.BytesPerSecond(predict.Value(policy.MetricDownRateMax, c.Prefix))
		c.TestCapacity = predict.Counted(highest, b.Counts.transfers(c.Prefix.ID))
	} else {
		c.TestCapacity = b.TestCapacity(c.Prefix)
	}
	c.LatencyPart = 2 * c.MinRTT
	switch {
	case c.Reuse > 0:
		c.LatencyPart = c.MinRTT
	case tls && !b.PlainLatency:
		c.LatencyPart = 4 * c.MinRTT
	}
	// If the capacity is unknown, this is negative. A transfer then counts as dominated
	// by latency, whatever its size.
	c.CapacityPart = predict.Millis(1000 * float64(size) / float64(c.TestCapacity))
}

// decide applies the rules and returns the reason.
func (b *Base) decide() string {
	reason := ReasonShortest
	if low := b.lowestRTT(); low != nil {
		if low.LatencyPart > low.CapacityPart {
			b.result = Result{LowRTT, low, low.LatencyPart + low.CapacityPart}
			return ReasonLowRTT
		}
		reason = ReasonCapacity
	}
	best := b.shortest()
	if b.Draw != nil {
		reason = b.DrawReason
		if drawn := b.Draw(b.cands); drawn != nil {
			best = drawn
		}
	}
	switch {
	case best == nil:
		b.result = Result{Rule: Unpredictable}
		return ReasonNothing
	case best.Time <= predict.Epsilon:
		b.result = Result{TooShort, best, best.Time}
		return ReasonNothing
	}
	b.result = Result{Fastest, best, best.Time}
	return reason
}

// lowestRTT returns the candidate for the latency test, nil if there is no test.
func (b *Base) lowestRTT() *Candidate {
	var low *Candidate
	for i := range b.cands {
		if c := &b.cands[i]; c.MinRTT > predict.Epsilon && (low == nil || c.MinRTT < low.MinRTT) {
			low = c
		}
	}
	return low
}

func (b *Base) shortest() *Candidate {
	var best *Candidate
	for i := range b.cands {
		if c := &b.cands[i]; c.Time.Known() && (best == nil || c.Time < best.Time) {
			best = c
		}
	}
	return best
}

// answer turns the result into a decision, and counts the transfer that follows from
// it.
func (b *Base) answer(r *policy.Request, reason string) policy.Decision {
	var chosen *Candidate
	note := "default"
	switch b.result.Rule {
	case LowRTT:
		chosen, note = b.result.Winner, "lowest RTT"
	case Fastest:
		chosen, note = b.result.Winner, "shortest"
		if b.Draw != nil {
			note = "drawn"
		}
	default:
		chosen = b.defaultCandidate(r)
		if chosen == nil {
			reason = shape.ReasonNoDefault
		}
	}
	d := policy.Decision{Reason: reason, Scores: b.scores(chosen, note)}
	if chosen != nil {
		d.Prefix = chosen.Prefix
		d.Alternates = shape.Ranked(r, d.Prefix, func(i int) float64 { return float64(b.cands[i].Time) })
		shape.Reuse(r, &d, b.inUse)
	}
	if b.Counts != nil {
		b.Counts.chosen(r, b.result, chosen, b.inUse)
	}
	d.Lease = b.lease()
	return d
}

// lease returns the lease of the last decision. There is none for a random draw, nor if
// decisions count the transfers of earlier ones.
func (b *Base) lease() policy.Lease {
	switch {
	case b.Counts != nil, b.Draw != nil:
		return policy.Lease{}
	case b.result.Rule == NoSize:
		return shape.Lease(intent.OptFileSize)
	}
	return shape.MeasuredLease(intent.OptFileSize)
}

// defaultCandidate returns the candidate of the default prefix, or of its stand-in if
// the default prefix is kept back.
func (b *Base) defaultCandidate(r *policy.Request) *Candidate {
	p := r.DefaultPrefix()
	for i := range b.cands {
		if b.cands[i].Prefix == p {
			return &b.cands[i]
		}
	}
	return nil
}
