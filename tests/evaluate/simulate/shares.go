package simulate

import (
	"math"
	"slices"
	"time"
)

// Summary compares one scheme of a grid, by its index, with two others: the
// default path and the second path alone.
func (t Times) Summary(pairs []Pair, scheme, net1, net2 int) Shares {
	var s Shares
	var ratios []float64
	logs := 0.0
	for i := range t {
		var sum, sum1, sum2 time.Duration
		for j, took := range t[i][scheme] {
			first, better := t[i][net1][j], min(t[i][net1][j], t[i][net2][j])
			sum, sum1, sum2 = sum+took, sum1+first, sum2+t[i][net2][j]
			count(&s.Faster, &s.Twice, &s.Slower, float64(took)/float64(first))
			ratio := float64(took) / float64(better)
			if ratio > 1.05 {
				s.Worse++
			}
			logs += math.Log(ratio)
			ratios = append(ratios, ratio)
		}
		count(&s.PairsFaster, &s.PairsTwice, &s.PairsSlower, float64(sum)/float64(sum1))
		ratio := float64(sum) / float64(min(sum1, sum2))
		if ratio > 1.05 {
			s.PairsWorse++
		}
		if ratio > s.WorstPair {
			s.WorstPair, s.WorstAt = ratio, pairs[i]
		}
	}
	s.Cases = len(ratios)
	if s.Cases == 0 {
		return s
	}
	slices.Sort(ratios)
	s.Mean = math.Exp(logs / float64(s.Cases))
	s.P99 = ratios[s.Cases*99/100]
	for _, v := range []*float64{&s.Faster, &s.Twice, &s.Slower, &s.Worse} {
		*v /= float64(s.Cases)
	}
	for _, v := range []*float64{&s.PairsFaster, &s.PairsTwice, &s.PairsSlower, &s.PairsWorse} {
		*v /= float64(len(t))
	}
	return s
}

func count(faster, twice, slower *float64, ratio float64) {
	switch {
	case ratio > 1.01:
		*slower++
	case ratio < 0.99:
		*faster++
	}
	if ratio < 0.5 {
		*twice++
	}
}
