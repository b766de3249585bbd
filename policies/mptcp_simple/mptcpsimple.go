// Package mptcpsimple is the policy that opens every connection with MPTCP, with the
// first subflow on the prefix with the lowest round-trip time (doc/original/policies.md
// section 16).
//
// Unlike the Socket Intents prototype it uses IPv6 too, and it falls back to the
// default prefix for every kind of request.
package mptcpsimple

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonLowRTT = "MPTCP, first subflow on the lowest RTT"
	reasonNoRTT  = "MPTCP, no RTT known: default"
)

type options struct {
	LogFile string `mam:"logfile"`
}

// Policy is the mptcp_simple policy. Its state is the latest decision's, for the log.
type Policy struct {
	opts options
	rule string // the end of the log line
}

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.LineLogger     = (*Policy)(nil)
	_ policy.SubflowChooser = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile; prefixes may override metrics.
func New(cfg policy.Config) (policy.Policy, error) {
	p := &Policy{}
	if err := cfg.Decode(&p.opts); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}, policy.MetricNames()...); err != nil {
		return nil, err
	}
	return p, nil
}

// Choose reuses the first offered socket, whatever its prefix and protocol. Without a
// socket it suggests the candidate with the lowest round-trip time, or the default one.
// It asks for MPTCP, even if the application bound the socket itself.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	p.rule = ""
	if d, ok := shape.FirstSocket(r); ok {
		p.rule = "reuse"
		return d
	}
	d := p.open(r)
	d.Multipath = true
	return d
}

func (p *Policy) open(r *policy.Request) policy.Decision {
	if r.Bound.IsValid() {
		return shape.Bound(r, policy.ResolveOnPrefix, false)
	}
	low := predict.LowestRTT(r.Prefixes, policy.MetricSRTTMin)
	if low == nil {
		p.rule = "default"
		return shape.Default(r, r.DefaultPrefix(), reasonNoRTT)
	}
	p.rule = "lowsrtt"
	d := shape.Plain(r, low, reasonLowRTT, "lowest RTT")
	d.Alternates = shape.Ranked(r, low, func(i int) float64 { return float64(predict.RTTOrUnknown(r.Prefixes[i])) })
	predict.AddRTT(d.Scores)
	return d
}

// ChooseResolver chooses the resolver of the prefix that the application bound to, else
// the default one.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision { return shape.Resolver(r) }

// ChooseSubflows names a subflow from every prefix, those with a low round-trip time
// first.
func (p *Policy) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	list := policy.DefaultSubflows(r)
	slices.SortStableFunc(list, func(a, b policy.Subflow) int {
		return cmp.Compare(predict.RTTOrUnknown(a.Prefix), predict.RTTOrUnknown(b.Prefix))
	})
	return list
}

// LogFile returns the setting logfile.
func (p *Policy) LogFile() string { return p.opts.LogFile }

// LogLine returns the line of doc/original/policies.md section 16.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	var b []byte
	rule := p.rule
	switch r.Kind {
	case policy.Connect:
		if rule == "lowsrtt" {
			rule = "lowlatency"
		}
	case policy.SocketConnect:
		b = append(append(b, "<ts>"...), strings.Repeat(",", 12)...)
	case policy.SocketChoose:
		b = shape.AppendSockets(append(b, "<ts>,"...), shape.LogList(r), r.Sockets)
		b = append(b, strings.Repeat(",", 7)...)
	default:
		return ""
	}
	switch {
	case d.Socket != nil && d.Socket.Prefix != nil:
		b = append(append(b, d.Socket.Prefix.Interface...), ',')
	case d.Socket != nil:
		b = append(strconv.AppendInt(b, int64(d.Socket.FD), 10), ',')
	case d.Prefix != nil:
		b = append(append(b, d.Prefix.Interface...), ',')
	default: // bound, or no prefix found: the line ends here
		return string(b)
	}
	return string(append(b, rule...))
}

// Annotate marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return policy.AnnotateDefault(q) }
