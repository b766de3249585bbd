package predict

import (
	"math"

	"github.com/socket-intents/mamma/policy"
)

// LowestRTT returns the prefix with the smallest usable value of m, and the first of
// equal ones. It returns nil if no value is usable (lowest_srtt of
// doc/original/policies.md 3.3).
func LowestRTT(list []*policy.Prefix, m policy.Metric) *policy.Prefix {
	var best *policy.Prefix
	lowest := math.MaxFloat64
	for _, p := range list {
		if v := Raw(m, p); v > Epsilon && v < lowest {
			best, lowest = p, v
		}
	}
	return best
}

// HighestCapacity returns the prefix with the largest usable value of m, and the first
// of equal ones. It returns nil if no value is usable (section 3.3).
func HighestCapacity(list []*policy.Prefix, m policy.Metric) *policy.Prefix {
	var best *policy.Prefix
	highest := float64(Epsilon)
	for _, p := range list {
		if v := Raw(m, p); v > highest {
			best, highest = p, v
		}
	}
	return best
}

// LowestCapacity returns the prefix with the smallest usable value of m. If a prefix's
// m is unknown, or not smaller than the least found so far, its value of fallback is
// compared instead. LowestCapacity returns nil if no value is usable (section 3.3).
func LowestCapacity(list []*policy.Prefix, m, fallback policy.Metric) *policy.Prefix {
	var best *policy.Prefix
	lowest := math.MaxFloat64
	for _, p := range list {
		for _, v := range [...]float64{Raw(m, p), Raw(fallback, p)} {
			if v > Epsilon && v < lowest {
				best, lowest = p, v
				break
			}
		}
	}
	return best
}
