// Package earliestarrivalstatic is earliest arrival with configured values. The
// round-trip time and the rate of each prefix are settings, and only values without a
// setting are measured (doc/original/policies.md section 13).
//
// Original: defect. This policy does what that of the Socket Intents prototype was
// meant to do, without the sum of penalties, which nothing reads.
package earliestarrivalstatic

import (
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// prefixOptions are the settings of a prefix.
type prefixOptions struct {
	MinSRTT         float64 `mam:"min_srtt" min:"0" unit:"ms"`
	DownloadMaxRate float64 `mam:"download_max_rate" min:"0" unit:"B/s"`
}

// Policy is the static policy. Its state is that of the latest decision.
type Policy struct{ arrival.Base }

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile; prefixes have min_srtt and
// download_max_rate.
func New(cfg policy.Config) (policy.Policy, error) {
	return arrival.New(cfg, &prefixOptions{}, func(base arrival.Base) policy.Policy {
		base.Inputs = inputs
		return &Policy{base}
	})
}

// inputs returns the configured figures of p. Figures that are not configured, or are
// 0, are replaced by the measured ones.
func inputs(p *policy.Prefix) (predict.Millis, policy.BytesPerSecond) {
	rtt, _ := p.Options.Number("min_srtt")
	if rtt <= predict.Epsilon {
		rtt = predict.Value(policy.MetricSRTTMedian, p)
	}
	rate, _ := p.Options.Number("download_max_rate")
	capacity := policy.BytesPerSecond(rate)
	if capacity <= predict.Epsilon {
		capacity = predict.FreeCapacity(p)
	}
	return predict.Millis(rtt), capacity
}

// LogLine returns the line of doc/original/policies.md section 13. Its columns are:
// whole seconds, the client's id (empty, because policies are not told it), the file
// size, and ten figures that were always zero in the Socket Intents prototype.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	if p.Result().Rule == arrival.Bound {
		return ""
	}
	out := append(strconv.AppendInt(nil, r.Now.Unix(), 10), ",,"...)
	if size, given := r.Intents.FileSize(); given {
		out = append(strconv.AppendInt(out, size, 10), ',')
	} else {
		out = append(out, "0,"+strings.Repeat("0.0,", 10)...)
	}
	return string(p.AppendChoice(out, d, "_fastest"))
}
