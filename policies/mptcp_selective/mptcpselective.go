// Package mptcpselective is the policy that uses MPTCP only for bulk transfers, and
// only if the slowest network can carry its share. It leaves out a network that would
// hold up the others (doc/original/policies.md section 19).
package mptcpselective

import (
	"strings"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policies/internal/streaming"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonEnough    = "MPTCP: slowest prefix carries the segment in 8 s; lowest RTT first"
	reasonEnoughLow = "MPTCP: slowest prefix carries the segment in 4 s; lowest RTT first"
	reasonOnlyHigh  = "slowest prefix would hold the segment up: highest capacity"
	reasonSingle    = "no second capacity to choose from: default"
	reasonNothing   = "bulk transfer, no capacity known: default"
	reasonNoRTT     = "MPTCP: slowest prefix carries the segment; no RTT known: default first"

	// playing is the play-out buffer, in milliseconds, above which play-out counts as
	// started. 10 ms is short, but it is the value of the original.
	playing = 10
	// seconds is the longest time that a segment may take over the slowest prefix once
	// play-out has started. secondsBuffering is the longest time before that.
	seconds, secondsBuffering = 8, streaming.SegmentSeconds
)

type options struct {
	LogFile string `mam:"logfile"`
}

// Policy is the mptcp_selective policy. Its state is a count for each prefix. The count
// is the number of bulk transfers that were sent over another prefix alone, since a bulk
// transfer last used all prefixes.
type Policy struct {
	opts  options
	count streaming.Counters
	rule  rule
}

// rule is the rule that decided, for the log.
type rule uint8

const (
	ruleBound rule = iota
	ruleDefault
	ruleLowLatency
	ruleControl
	ruleEnough
	ruleEnoughLow
	ruleOnlyHigh
)

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.LineLogger     = (*Policy)(nil)
	_ policy.SubflowChooser = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile; prefixes may override metrics.
func New(cfg policy.Config) (policy.Policy, error) {
	p := &Policy{count: streaming.NewCounters()}
	if err := cfg.Decode(&p.opts); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}, policy.MetricNames()...); err != nil {
		return nil, err
	}
	return p, nil
}

// Count returns the number of bulk transfers that were sent over another prefix alone,
// since a bulk transfer last used all prefixes.
func (p *Policy) Count(id policy.PrefixID) int { return p.count.Of(id) }

// SetCount replaces the value of Count, for tests and replay.
func (p *Policy) SetCount(id policy.PrefixID, n int) { p.count.Set(id, n) }

// Choose decides by the category intent. For bulk transfers it also reads the bit rate
// in bits per second and the play-out buffer in milliseconds. Choose reuses an idle
// socket on the suggested prefix. An MPTCP socket is reused only if the decision uses
// MPTCP, and a plain TCP socket only if the decision does not.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	p.rule = ruleBound
	if r.Bound.IsValid() {
		return streaming.Bound(r)
	}
	n := streaming.Read(r)
	if r.Kind == policy.Connect {
		n.Duration = 0 // the original takes the play-out buffer as 0 for these requests
	}
	d := p.Decide(r, n.Category, n.SegmentSize(), n.Duration)
	shape.Reuse(r, &d, nil)
	return d
}

// ChooseSubflows names a subflow from every prefix for bulk transfers. It names none for
// other requests, even if the program has opened MPTCP by itself. A connection whose
// request is unknown gets the default subflows.
func (p *Policy) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	if r.Request != nil && streaming.Read(r.Request).Category != intent.CategoryBulkTransfer {
		return nil
	}
	return policy.DefaultSubflows(r)
}

// Decide decides on a transfer of size bytes with a play-out buffer in milliseconds. It
// ignores bound and idle sockets.
func (p *Policy) Decide(r *policy.Request, category intent.Category, size, buffer int64) policy.Decision {
	reason := streaming.ReasonOther
	switch category {
	case intent.CategoryQuery:
		if low := predict.LowestRTT(r.Prefixes, policy.MetricSRTTMin); low != nil {
			p.rule = ruleLowLatency
			return byRTT(r, low, streaming.ReasonQuery)
		}
		reason = streaming.ReasonNoRTT
	case intent.CategoryControlTraffic:
		if q := p.count.Highest(r.Prefixes); q != nil {
			p.rule = ruleControl
			d := shape.Plain(r, q, streaming.ReasonControl, "most")
			p.count.Scores(&d)
			d.Alternates = shape.Ranked(r, q, func(i int) float64 { return -float64(p.count.Of(r.Prefixes[i].ID)) })
			return d
		}
		reason = streaming.ReasonIdle
	case intent.CategoryBulkTransfer:
		return p.bulk(r, size, buffer)
	}
	p.rule = ruleDefault
	return shape.Default(r, r.DefaultPrefix(), reason)
}

func (p *Policy) bulk(r *policy.Request, size, buffer int64) policy.Decision {
	p.rule = ruleDefault
	slow := predict.LowestCapacity(r.Prefixes, policy.MetricDownSMAMaxMid, policy.MetricDownSMAMaxLong)
	if slow == nil {
		return shape.Default(r, r.DefaultPrefix(), reasonNothing)
	}
	// The rate is 0 if only the long-term capacity of slow is known. Then neither bound
	// is met.
	rate := predict.Value(policy.MetricDownSMAMaxMid, slow)
	switch {
	case buffer > playing && seconds*rate > float64(size):
		return p.together(r, ruleEnough, reasonEnough)
	case secondsBuffering*rate > float64(size):
		return p.together(r, ruleEnoughLow, reasonEnoughLow)
	}
	fast := predict.HighestCapacity(r.Prefixes, policy.MetricDownSMAMaxMid)
	if fast == nil || fast == slow {
		return shape.Default(r, r.DefaultPrefix(), reasonSingle)
	}
	p.rule = ruleOnlyHigh
	p.count.PassOver(r.Prefixes, fast)
	d := shape.Plain(r, fast, reasonOnlyHigh, "highest capacity")
	d.Alternates = shape.Ranked(r, fast, func(i int) float64 { return -predict.Value(policy.MetricDownSMAMaxMid, r.Prefixes[i]) })
	addCapacity(d.Scores)
	return d
}

// together decides to use MPTCP, with the first subflow on the prefix with the lowest
// round-trip time.
func (p *Policy) together(r *policy.Request, rule rule, reason string) policy.Decision {
	for _, q := range r.Prefixes {
		p.count.Set(q.ID, 0)
	}
	low := predict.LowestRTT(r.Prefixes, policy.MetricSRTTMin)
	if low == nil {
		d := shape.Default(r, r.DefaultPrefix(), reasonNoRTT)
		d.Multipath = true
		return d
	}
	p.rule = rule
	d := byRTT(r, low, reason)
	d.Multipath = true
	return d
}

func byRTT(r *policy.Request, low *policy.Prefix, reason string) policy.Decision {
	d := shape.Plain(r, low, reason, "lowest RTT")
	d.Alternates = shape.Ranked(r, low, func(i int) float64 { return float64(predict.RTTOrUnknown(r.Prefixes[i])) })
	addCapacity(d.Scores)
	return d
}

// addCapacity adds to each score the round-trip time and the capacity of its prefix.
func addCapacity(scores []policy.Score) {
	terms := make([]policy.Term, 0, 2*len(scores))
	for i := range scores {
		q := scores[i].Prefix
		terms = append(terms,
			predict.Term(policy.MetricSRTTMin, "min rtt", policy.Milliseconds, q),
			predict.Term(policy.MetricDownSMAMaxMid, "capacity", policy.ByteRate, q))
		scores[i].Terms = terms[2*i : 2*i+2 : 2*i+2]
	}
}

// ChooseResolver chooses the resolver of the prefix that the application bound to, else
// the default one.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision { return shape.Resolver(r) }

// LogFile returns the setting logfile.
func (p *Policy) LogFile() string { return p.opts.LogFile }

// LogLine returns the line of doc/original/policies.md section 19.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	var b []byte
	n := streaming.Read(r)
	switch r.Kind {
	case policy.Connect:
	case policy.SocketConnect:
		b = append(append(b, "<ts>"...), strings.Repeat(",", 8)...)
		b = streaming.AppendColumns(b, int64(n.Category), n.FileSize, n.Bitrate, n.Duration)
	case policy.SocketChoose:
		b = shape.AppendSockets(append(b, "<ts>,"...), shape.LogList(r), r.Sockets)
		b = streaming.AppendColumns(append(b, ",,,"...), int64(n.Category), n.FileSize, n.Bitrate, n.Duration)
	default:
		return ""
	}
	switch p.rule {
	case ruleBound, ruleControl: // the line ends here
		return string(b)
	case ruleEnough:
		return string(append(b, "mptcp,enough"...))
	case ruleEnoughLow:
		return string(append(b, "mptcp,enough_low"...))
	}
	if d.Prefix == nil {
		return string(append(b, ",none"...))
	}
	b = append(b, d.Prefix.Interface...)
	switch p.rule {
	case ruleLowLatency:
		b = append(b, ",lowlatency"...)
	case ruleOnlyHigh:
		b = append(b, ",onlyhigh"...)
	default:
		b = append(b, ",default"...)
	}
	return string(b)
}

// Annotate marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return policy.AnnotateDefault(q) }
