// Package report turns results into figures, tables and plots: medians with
// their intervals, Markdown, SVG. It knows nothing about networks.
package report

import (
	"math"
	"slices"
)

// Estimate is a median with its interval.
type Estimate struct {
	N         int
	Median    float64
	Low, High float64 // not numbers where there are too few values for a 95 % interval
}

// MedianOf estimates the median of values. The interval is between two order
// statistics: it holds the median with at least 95 % probability, whatever the
// distribution, for at least six values.
func MedianOf(values []float64) Estimate {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	e := Estimate{N: n, Median: math.NaN(), Low: math.NaN(), High: math.NaN()}
	if n == 0 {
		return e
	}
	e.Median = (sorted[(n-1)/2] + sorted[n/2]) / 2
	if k := rank(n); k > 0 {
		e.Low, e.High = sorted[k-1], sorted[n-k]
	}
	return e
}

// rank is the largest k for which the k-th smallest and the k-th largest of n values
// enclose the median with a probability of 95 %; 0 if there is none. A value lies below
// the median as a coin shows heads. So with a probability of at most 2.5 %, fewer than
// k of n tosses are heads.
func rank(n int) int {
	p := math.Pow(0.5, float64(n)) // of no heads
	sum, k := 0.0, 0
	for i := 0; i < n; i++ {
		sum += p
		if sum > 0.025 {
			break
		}
		k = i + 1
		p *= float64(n-i) / float64(i+1)
	}
	return k
}

// Quantile gives the smallest value that at least the given share of values do
// not exceed; not a number without values.
func Quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
