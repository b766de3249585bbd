package predict

import (
	"math"

	"github.com/socket-intents/mamma/policy"
)

// Epsilon is what policies take for zero: a measurement must be above it to
// count (doc/original/policies.md section 3).
const Epsilon = 0.0001

// Raw is what is known of m for p: a setting of that name in the prefix's
// configuration, else the measurement, 0 if there is none (doc/original/policies.md
// 3.1). A configured 0 hides the measurement. The original keeps strings there
// and takes their bytes for a number; here the setting must be a number.
func Raw(m policy.Metric, p *policy.Prefix) float64 {
	v, _ := m.Known(p)
	return v
}

// Value is Raw, but 0 for everything that is not a usable measurement: at most
// Epsilon in effect, or "unknown" itself (doc/original/policies.md 3.1).
func Value(m policy.Metric, p *policy.Prefix) float64 {
	v := Raw(m, p)
	if v < Epsilon || v >= math.MaxFloat64 {
		return 0
	}
	return v
}
