package predict

import (
	"math"

	"github.com/socket-intents/mamma/policy"
)

// Epsilon is the bound below which policies take a figure for zero. Only a measurement
// above it counts (doc/original/policies.md section 3).
const Epsilon = 0.0001

// Raw returns what is known about m for p: a setting of that name in the prefix's
// configuration, else the measurement, else 0 (doc/original/policies.md 3.1). A
// configured 0 hides the measurement. Original: defect, for settings; here the setting
// must be a number.
func Raw(m policy.Metric, p *policy.Prefix) float64 {
	v, _ := m.Known(p)
	return v
}

// Value is Raw, but returns 0 for everything that is not a usable measurement: a value
// of at most Epsilon, or one that stands for "unknown" (doc/original/policies.md 3.1).
func Value(m policy.Metric, p *policy.Prefix) float64 {
	v := Raw(m, p)
	if v < Epsilon || v >= math.MaxFloat64 {
		return 0
	}
	return v
}
