// Package earliestarrivalstatic is earliest arrival with configured values: the
// round-trip time and the rate of each prefix are settings, and only what is not
// set is measured (doc/original/policies.md section 13).
//
// The original reads these settings nowhere and crashes on every prediction;
// this is what it was meant to do, without the penalty sum that nothing reads.
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

// Policy is the static policy. Its state is that of the decision just made.
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

// inputs are the configured figures of p, and the measured ones in place of what
// is not configured. A setting of 0 counts as not configured.
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

// LogLine gives the line of doc/original/policies.md section 13: whole seconds, a column
// for the client's id, which policies are not told and which stays empty, the
// file size and ten figures that were never anything but zero.
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
