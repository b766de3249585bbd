package main

import (
	"fmt"
	"math"

	"github.com/socket-intents/mamma/tests/evaluate/report"
)

// verdict is how a measurement compares with what was expected.
type verdict string

// The verdicts.
const (
	reached verdict = "reached"
	beaten  verdict = "beaten"
	missed  verdict = "missed"
	absent  verdict = "not measured"
)

// finding is a line of the table of expectations.
type finding struct {
	scenario string
	expected string
	measured string
	verdict  verdict
}

// judged is reached if ok, beaten if more than that; not measured without a number.
func judged(v float64, ok, more bool) verdict {
	switch {
	case math.IsNaN(v):
		return absent
	case more:
		return beaten
	case ok:
		return reached
	}
	return missed
}

// findings compares the results with the table of doc/original/evaluation.md.
func (rs *results) findings(list []scenario) []finding {
	var all []finding
	for i := range list {
		s := &list[i]
		pair := s.pairs[0].String()
		cell := func(load, way string) key { return key{s.name, pair, load, way} }
		switch s.name {
		case "E1":
			for _, w := range []string{"threshold", "adaptive"} {
				all = append(all, rs.gain(cell("P1", w), 0.150))
			}
			k := cell("P1", roundRobin)
			ratio := rs.median(k) / rs.better(k)
			all = append(all, finding{s.name, "round robin far worse than the better net", times(ratio), judged(ratio, ratio > 1.2, false)})
		case "E2":
			for _, load := range s.loads {
				for _, w := range []string{"earliest_arrival", "threshold", "adaptive"} {
					all = append(all, rs.gain(cell(load, w), 0.500))
				}
			}
		case "E3":
			all = append(all, rs.speedup(s, "mixedD", 1.5)...)
		case "E4":
			for _, load := range s.loads {
				all = append(all, rs.speedup(s, load, 2)...)
			}
		case "E5":
			all = append(all, rs.speedup(s, "mixedD", 5)...)
			k := cell("mixedD", "adaptive")
			ratio := rs.better(k) / rs.median(k)
			all = append(all, finding{s.name, "a split by size beats both nets (mixedD, adaptive)", times(ratio) + " the better net", judged(ratio, ratio > 1, false)})
		case "E6":
			for _, load := range s.loads {
				for _, w := range []string{"earliest_arrival", "threshold", "adaptive"} {
					k := cell(load, w)
					ratio := rs.median(k) / rs.median(with(k, net1))
					all = append(all, finding{s.name, fmt.Sprintf("%s within 5 %% of net 1 (%s)", w, load), times(ratio), judged(ratio, ratio <= 1.05, ratio < 0.95)})
				}
			}
		case "E7":
			all = append(all, rs.files(s)...)
		case "E8":
			all = append(all, rs.headline(s)...)
		case "E9":
			all = append(all, rs.video(s)...)
		case "E10":
			all = append(all, rs.messages(s)...)
		}
	}
	return append(all, rs.promise(list)...)
}

func times(ratio float64) string {
	if math.IsNaN(ratio) {
		return "-"
	}
	return report.Number(ratio) + "x"
}

// gain is the difference to the better net in seconds, repetition by repetition.
func (rs *results) gain(k key, want float64) finding {
	better := with(k, net1)
	if rs.median(with(k, net2)) < rs.median(better) {
		better.way = net2
	}
	own, other := rs.values(k), rs.values(better)
	var gains []float64
	for i := range min(len(own), len(other)) {
		gains = append(gains, 1000*(other[i]-own[i]))
	}
	e := report.MedianOf(gains)
	clear := math.IsNaN(e.Low) || e.Low > 0
	return finding{k.scenario, fmt.Sprintf("%s at least %.0f ms faster than the better net (%s)", k.way, 1000*want, k.load),
		e.String() + " ms", judged(e.Median, e.Median >= 1000*want && clear, false)}
}

// speedup compares the policies with net 1.
func (rs *results) speedup(s *scenario, load string, want float64) []finding {
	var all []finding
	for _, w := range []string{"earliest_arrival", "threshold", "adaptive"} {
		k := key{s.name, s.pairs[0].String(), load, w}
		ratio := rs.median(with(k, net1)) / rs.median(k)
		all = append(all, finding{s.name, fmt.Sprintf("%s %gx as fast as net 1 (%s)", w, want, load), times(ratio), judged(ratio, ratio >= want, ratio >= 1.2*want)})
	}
	return all
}

// files: each policy picks the faster net at every size; who takes the first
// connection does not.
func (rs *results) files(s *scenario) []finding {
	var all []finding
	for _, w := range []string{"earliest_arrival", "threshold", "adaptive"} {
		worst := 1.0
		for _, load := range s.loads {
			k := key{s.name, s.pairs[0].String(), load, w}
			worst = math.Max(worst, rs.median(k)/rs.better(k))
		}
		all = append(all, finding{s.name, w + " picks the faster net at every size", "at worst " + times(worst) + " the better net's time", judged(worst, worst < 1.1, false)})
	}
	for _, loss := range []struct {
		load string
		want float64
	}{{"1000000", 4}, {"10000000", 9}} {
		load, want := loss.load, loss.want
		k := key{s.name, s.pairs[0].String(), load, firstConnect}
		ratio := rs.median(k) / rs.better(k)
		all = append(all, finding{s.name, fmt.Sprintf("the first to connect loses about %gx (%s)", want, s.title(load)), times(ratio), judged(ratio, ratio > 0.75*want, false)})
	}
	return all
}

// headline are the shares of cases relative to net 1.
func (rs *results) headline(s *scenario) []finding {
	var all []finding
	for _, w := range []string{"earliest_arrival", "threshold", "adaptive"} {
		cases, faster, twice, slower := 0, 0, 0, 0
		for _, pair := range s.pairs {
			for _, load := range s.loads {
				k := key{s.name, pair.String(), load, w}
				ratio := rs.median(k) / rs.median(with(k, net1))
				if math.IsNaN(ratio) {
					continue
				}
				cases++
				switch {
				case ratio < 0.99:
					faster++
				case ratio > 1.01:
					slower++
				}
				if ratio < 0.5 {
					twice++
				}
			}
		}
		n := float64(cases)
		f, t, sl := float64(faster)/n, float64(twice)/n, float64(slower)/n
		all = append(all,
			finding{s.name, w + ": more than 50 % of cases faster than net 1", report.Percent(f), judged(f, f > 0.5, f > 0.6)},
			finding{s.name, w + ": about 20 % over 2x", report.Percent(t), judged(t, t >= 0.18, t > 0.25)},
			finding{s.name, w + ": none slower by more than 1 %", report.Percent(sl), judged(sl, sl == 0, false)})
	}
	return all
}

func (rs *results) video(s *scenario) []finding {
	var all []finding
	for _, load := range s.loads {
		k := key{s.name, s.pairs[0].String(), load, ""}
		best := math.Max(rs.median(with(k, net1)), rs.median(with(k, net2)))
		for _, w := range []string{"optimist", "pessimist", "adaptive"} {
			m := rs.median(with(k, w))
			all = append(all, finding{s.name, fmt.Sprintf("%s clearly above either net alone and above MPTCP (%s)", w, s.title(load)),
				fmt.Sprintf("%s; best net %s, MPTCP %s", report.Number(m), report.Number(best), report.Number(rs.median(with(k, multipath)))),
				judged(m, m > best+0.2 && !(m <= rs.median(with(k, multipath))), false)})
		}
	}
	return all
}

func (rs *results) messages(s *scenario) []finding {
	var all []finding
	k := key{s.name, s.pairs[0].String(), s.loads[0], ""}
	blind := with(k, roundRobin)
	best := math.Max(rs.bulkRate(with(k, net1)), rs.bulkRate(with(k, net2)))
	for _, w := range []string{"earliest_arrival", "threshold", "adaptive"} {
		lower := 1 - rs.median(with(k, w))/rs.median(blind)
		loss := 1 - rs.bulkRate(with(k, w))/best
		all = append(all, finding{s.name, w + ": p95 latency 48 % below round robin at no more than 7 % of bulk rate",
			fmt.Sprintf("%s lower, %s of the rate of the better net lost", report.Percent(lower), report.Percent(loss)), judged(lower, lower >= 0.48 && loss <= 0.07, lower >= 0.7 && loss <= 0.07)})
	}
	return all
}

// promise is that of policy adaptive: as good as the best ported policy in every
// scenario, and never more than 5 % worse than the better net.
func (rs *results) promise(list []scenario) []finding {
	worstNet, worstPolicy := 0.0, 0.0
	var atNet, atPolicy key
	for i := range list {
		s := &list[i]
		if s.work != pages && s.work != files {
			continue
		}
		for _, pair := range s.pairs {
			for _, load := range s.loads {
				k := key{s.name, pair.String(), load, "adaptive"}
				own := rs.median(k)
				if ratio := own / rs.better(k); ratio > worstNet {
					worstNet, atNet = ratio, k
				}
				best := math.Inf(1)
				for _, w := range rs.ways(k) {
					if p := rs.median(with(k, w)); w == "threshold" || len(w) >= 16 && w[:16] == "earliest_arrival" {
						best = math.Min(best, p)
					}
				}
				if ratio := own / best; ratio > worstPolicy {
					worstPolicy, atPolicy = ratio, k
				}
			}
		}
	}
	where := func(k key) string { return fmt.Sprintf(" (%s, %s, %s)", k.scenario, k.pair, k.load) }
	if worstNet == 0 {
		return nil
	}
	return []finding{
		{"all", "adaptive never more than 5 % slower than the better net", "at worst " + times(worstNet) + where(atNet), judged(worstNet, worstNet <= 1.05, worstNet < 1)},
		{"all", "adaptive as good as the best ported policy everywhere", "at worst " + times(worstPolicy) + where(atPolicy), judged(worstPolicy, worstPolicy <= 1.01, worstPolicy < 0.99)},
	}
}
