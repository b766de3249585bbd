// Package video is the policy for adaptive streaming. Segments go where their load time
// fits the play-out buffer, queries where the round-trip time is lowest
// (doc/original/policies.md section 15). It can be an optimist or a pessimist. The
// optimist tries a network that once was fast. The pessimist leaves a network that has
// just become slow.
package video

import (
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policies/internal/streaming"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonMid       = "shortest load time by the rate of the last 10 s"
	reasonLong      = "shortest load time by the rate of the last minute"
	reasonVeryLong  = "shortest load time by the rate of the last 10 minutes"
	reasonOptimist  = "optimist: try the prefix that was fastest over 10 minutes"
	reasonPessimist = "pessimist: load time at risk, fastest by the last second"
	reasonNothing   = "bulk transfer, nothing predictable: default"
)

type options struct {
	LogFile   string  `mam:"logfile"`
	Pessimist *string `mam:"be_pessimist"`
}

// Policy is the video policy. Its state is a count per prefix: how many segments have
// gone elsewhere since the prefix was last used.
type Policy struct {
	opts      options
	pessimist bool
	notPicked streaming.Counters
	cands     []candidate
	rule      string // how the log line ends
}

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.LineLogger     = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
	_ policy.Announcer      = (*Policy)(nil)
)

// New makes the policy. Its settings are logfile and be_pessimist, which is false by
// default. In the grammar of the Socket Intents prototype (cfg.Lenient), be_pessimist
// counts as true with any value, even 0. Settings of prefixes may override metrics.
func New(cfg policy.Config) (policy.Policy, error) {
	p := &Policy{notPicked: streaming.NewCounters()}
	if err := cfg.Decode(&p.opts); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}, policy.MetricNames()...); err != nil {
		return nil, err
	}
	if p.opts.Pessimist != nil {
		var err error
		if p.pessimist, err = strconv.ParseBool(*p.opts.Pessimist); cfg.Lenient {
			p.pessimist = true
		} else if err != nil {
			return nil, settingNamed(cfg.Settings, "be_pessimist").Errorf("be_pessimist must be true or false, not %q", *p.opts.Pessimist)
		}
	}
	return p, nil
}

func settingNamed(list []policy.Setting, name string) policy.Setting {
	var found policy.Setting
	for _, s := range list {
		if s.Name == name {
			found = s // the last setting counts
		}
	}
	return found
}

// Announcement says whether the policy is an optimist or a pessimist.
func (p *Policy) Announcement() []string {
	if p.pessimist {
		return []string{"Being pessimist"}
	}
	return []string{"Not being pessimist"}
}

// NotPicked returns how many segments have gone elsewhere since the prefix was last
// used for one.
func (p *Policy) NotPicked(id policy.PrefixID) int { return p.notPicked.Of(id) }

// SetNotPicked replaces the value of NotPicked, for tests and replay.
func (p *Policy) SetNotPicked(id policy.PrefixID, n int) { p.notPicked.Set(id, n) }

// Choose decides by the category intent. For bulk transfers it also reads the bit rate
// in bits per second and the play-out buffer in milliseconds. An idle socket on the
// suggested prefix is reused.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	p.rule = ""
	if r.Bound.IsValid() {
		return streaming.Bound(r)
	}
	d := p.decide(r)
	shape.Reuse(r, &d, nil)
	return d
}

func (p *Policy) decide(r *policy.Request) policy.Decision {
	intents := streaming.Read(r)
	reason := streaming.ReasonOther
	switch intents.Category {
	case intent.CategoryQuery:
		if low := predict.LowestRTT(r.Prefixes, policy.MetricSRTTMin); low != nil {
			p.rule = "lowlatency"
			d := shape.Plain(r, low, streaming.ReasonQuery, "lowest RTT")
			d.Alternates = shape.Ranked(r, low, func(i int) float64 { return float64(predict.RTTOrUnknown(r.Prefixes[i])) })
			predict.AddRTT(d.Scores)
			return d
		}
		reason = streaming.ReasonNoRTT
	case intent.CategoryControlTraffic:
		if q := p.notPicked.Highest(r.Prefixes); q != nil {
			p.rule = "control"
			d := shape.Plain(r, q, streaming.ReasonControl, "most")
			p.notPicked.Scores(&d)
			d.Alternates = shape.Ranked(r, q, func(i int) float64 { return -float64(p.notPicked.Of(r.Prefixes[i].ID)) })
			return d
		}
		reason = streaming.ReasonIdle
	case intent.CategoryBulkTransfer:
		p.predict(r, intents)
		if c, why := p.segment(intents.Duration); c != nil {
			p.rule = "lowloadtime"
			d := policy.Decision{Prefix: c.prefix, Reason: why, Scores: p.scores(c.prefix, "chosen")}
			d.Alternates = shape.Ranked(r, c.prefix, func(i int) float64 { return float64(p.cands[i].best()) })
			p.notPicked.Set(c.prefix.ID, 0)
			p.notPicked.PassOver(r.Prefixes, c.prefix)
			return d
		}
		reason = reasonNothing
	}
	p.rule = "default"
	d := shape.Default(r, r.DefaultPrefix(), reason)
	if reason == reasonNothing {
		d.Scores = p.scores(d.Prefix, "default")
	}
	return d
}

// ChooseResolver chooses the resolver of the prefix that the application bound to, else
// the default one.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision { return shape.Resolver(r) }

// LogFile returns the setting logfile.
func (p *Policy) LogFile() string { return p.opts.LogFile }

// LogLine returns the line of doc/original/policies.md section 15. The columns of file
// size and category are swapped between the two kinds of request, as in the Socket
// Intents prototype.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	var b []byte
	n := streaming.Read(r)
	switch r.Kind {
	case policy.Connect:
	case policy.SocketConnect:
		b = append(append(b, "<ts>"...), strings.Repeat(",", 8)...)
		b = streaming.AppendColumns(b, n.FileSize, int64(n.Category), n.Bitrate, n.Duration)
	case policy.SocketChoose:
		b = shape.AppendSockets(append(b, "<ts>,"...), shape.LogList(r), r.Sockets)
		b = streaming.AppendColumns(append(b, ",,,"...), int64(n.Category), n.FileSize, n.Bitrate, n.Duration)
	default:
		return ""
	}
	switch {
	case p.rule == "" || p.rule == "control": // bound, or control traffic: the line ends here
	case d.Prefix == nil:
		b = append(b, ",none"...)
	default:
		b = append(append(append(b, d.Prefix.Interface...), ','), p.rule...)
	}
	return string(b)
}

// Annotate marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return policy.AnnotateDefault(q) }
