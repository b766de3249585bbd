package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
)

// results are the records of a run, for looking up.
type results struct {
	plan    plan
	records []record
	// simulated are median load times in seconds of the same scenarios.
	simulated map[key]float64
}

// key is one cell of the results.
type key struct{ scenario, pair, load, way string }

func (r *record) key() key { return key{r.Scenario, r.Pair, r.Load, r.Way} }

// of gives the records of a cell.
func (rs *results) of(k key) []record {
	var list []record
	for _, r := range rs.records {
		if !r.Done && !r.Lost && r.key() == k {
			list = append(list, r)
		}
	}
	return list
}

func (rs *results) values(k key) []float64 {
	var list []float64
	for _, r := range rs.of(k) {
		list = append(list, r.Value)
	}
	return list
}

// median is that of a cell, not a number if there is none.
func (rs *results) median(k key) float64 { return report.MedianOf(rs.values(k)).Median }

// better is the median of the better single network.
func (rs *results) better(k key) float64 {
	return math.Min(rs.median(with(k, net1)), rs.median(with(k, net2)))
}

func with(k key, way string) key {
	k.way = way
	return k
}

// ways lists the ways of a cell's row, the comparators first.
func (rs *results) ways(k key) []string {
	seen := map[string]bool{}
	for _, r := range rs.records {
		if !r.Done && !r.Lost && r.Scenario == k.scenario && r.Pair == k.pair && r.Load == k.load {
			seen[r.Way] = true
		}
	}
	var list []string
	for _, w := range []string{net1, net2, roundRobin, multipath, firstConnect} {
		if seen[w] {
			list = append(list, w)
			delete(seen, w)
		}
	}
	return append(list, slices.Sorted(maps.Keys(seen))...)
}

// late is the mean share of time that was lost during the loads of a scenario, of
// all scenarios if it is "".
func (rs *results) late(scenario string) float64 {
	sum, n := 0.0, 0
	for i := range rs.records {
		if r := &rs.records[i]; !r.Done && (scenario == "" || r.Scenario == scenario) {
			sum += r.Late
			n++
		}
	}
	return sum / float64(max(1, n))
}

// failures tells of loads that failed.
func (rs *results) failures() []string {
	var list []string
	for _, r := range rs.records {
		if len(r.Failed) == 0 {
			continue
		}
		end := "then it went well"
		if r.Lost {
			end = "it was left out"
		}
		list = append(list, fmt.Sprintf("%s, %s, %s by %s, repetition %d: %s; %s", r.Scenario, r.Pair, r.Load, r.Way, r.Repeat, strings.Join(r.Failed, "; "), end))
	}
	return list
}

// section renders a scenario; its plots are added, by file name without the end.
func (rs *results) section(s *scenario, plots map[string]*report.Drawing) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s: %s\n\n", s.name, s.about)
	for i, pair := range s.pairs {
		for _, load := range s.loads {
			k := key{s.name, pair.String(), load, ""}
			ways := rs.ways(k)
			if len(ways) == 0 {
				continue
			}
			fmt.Fprintf(&b, "### %s, %s\n\n", s.title(load), pair)
			b.WriteString(rs.table(s, k, ways).Markdown())
			b.WriteString("\n")
			name := fmt.Sprintf("%s-%d-%s", strings.ToLower(s.name), i+1, load)
			for _, p := range rs.plots(s, k, ways) {
				plots[name+p.suffix] = p.drawing
				fmt.Fprintf(&b, "![%s](%s.svg)\n", p.title, name+p.suffix)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// table is that of one load over one pair.
func (rs *results) table(s *scenario, k key, ways []string) *report.Table {
	switch s.work {
	case video:
		return rs.videoTable(k, ways)
	case messages:
		return rs.messageTable(k, ways)
	case browser:
		return rs.browserTable(k, ways)
	}
	t := &report.Table{Head: []string{"way", "n", "load time s (95 %)", "of net 1", "of the better net", "simulated s", "kB by net 1, net 2", "objects by net 1, net 2", "reused", "decision us"}}
	first, better := rs.median(with(k, net1)), rs.better(k)
	for _, w := range ways {
		cell := with(k, w)
		list := rs.of(cell)
		e := report.MedianOf(rs.values(cell))
		sim := math.NaN()
		if v, ok := rs.simulated[cell]; ok {
			sim = v
		}
		t.Add(w, fmt.Sprint(e.N), e.String(), report.Number(e.Median/first), report.Number(e.Median/better), report.Number(sim),
			pairOf(meanOf(list, func(r *record) []float64 { return []float64{float64(r.Bytes[0]) / 1000, float64(r.Bytes[1]) / 1000} })),
			pairOf(meanOf(list, func(r *record) []float64 { return []float64{float64(r.Objects[0]), float64(r.Objects[1])} })),
			fmt.Sprintf("%.0f", meanOf(list, func(r *record) []float64 { return []float64{float64(r.Reused)} })[0]),
			report.Number(meanOf(list, func(r *record) []float64 { return []float64{r.DecisionM} })[0]))
	}
	t.Add("better net", "", report.Number(better), report.Number(better/first), "1.00")
	return t
}

func (rs *results) browserTable(k key, ways []string) *report.Table {
	t := &report.Table{Head: []string{"way", "n", "load time s (95 %)", "of net 1", "of the better net", "kB by net 1, net 2"}}
	first, better := rs.median(with(k, net1)), rs.better(k)
	for _, w := range ways {
		cell := with(k, w)
		e := report.MedianOf(rs.values(cell))
		t.Add(w, fmt.Sprint(e.N), e.String(), report.Number(e.Median/first), report.Number(e.Median/better),
			pairOf(meanOf(rs.of(cell), func(r *record) []float64 { return []float64{float64(r.Bytes[0]) / 1000, float64(r.Bytes[1]) / 1000} })))
	}
	return t
}

func (rs *results) videoTable(k key, ways []string) *report.Table {
	t := &report.Table{Head: []string{"way", "n", "MOS stand-in (95 %)", "stalled", "mean rung", "switches", "segments by net 1, net 2", "kB by net 1, net 2"}}
	for _, w := range ways {
		cell := with(k, w)
		list := rs.of(cell)
		e := report.MedianOf(rs.values(cell))
		j := meanOf(list, func(r *record) []float64 {
			j := r.Video.Judgement
			return []float64{j.Stalled, j.MeanRung, float64(j.Switches)}
		})
		t.Add(w, fmt.Sprint(e.N), e.String(), report.Percent(j[0]), report.Number(j[1]), fmt.Sprintf("%.1f", j[2]),
			pairOf(meanOf(list, func(r *record) []float64 { return []float64{float64(r.Objects[0]), float64(r.Objects[1])} })),
			pairOf(meanOf(list, func(r *record) []float64 { return []float64{float64(r.Bytes[0]) / 1000, float64(r.Bytes[1]) / 1000} })))
	}
	return t
}

func (rs *results) messageTable(k key, ways []string) *report.Table {
	t := &report.Table{Head: []string{"way", "n", "p95 latency ms (95 %)", "median latency ms", "bulk Mbit/s", "bulk by net", "messages by net 1, net 2"}}
	for _, w := range ways {
		cell := with(k, w)
		list := rs.of(cell)
		var p95, p50 []float64
		nets := map[int]int{}
		for _, r := range list {
			p95 = append(p95, 1000*r.Value)
			p50 = append(p50, 1000*report.Quantile(r.Messages.Latencies, 0.5))
			nets[r.Messages.BulkNet+1]++
		}
		by := meanOf(list, func(r *record) []float64 {
			n := []float64{0, 0}
			for _, i := range r.Messages.MessageNets {
				if i >= 0 {
					n[i]++
				}
			}
			return n
		})
		t.Add(w, fmt.Sprint(len(list)), report.MedianOf(p95).String(), report.Number(report.MedianOf(p50).Median), report.Number(rs.bulkRate(cell)), fmt.Sprint(slices.Sorted(maps.Keys(nets))), pairOf(by))
	}
	return t
}

// bulkRate is the median rate of the bulk transfers in Mbit/s.
func (rs *results) bulkRate(k key) float64 {
	var rates []float64
	for _, r := range rs.of(k) {
		rates = append(rates, float64(rs.plan.bulk)*8/1e6/r.Messages.BulkSeconds)
	}
	return report.MedianOf(rates).Median
}

// meanOf averages figures over records.
func meanOf(list []record, figures func(*record) []float64) []float64 {
	var mean []float64
	for i := range list {
		f := figures(&list[i])
		if mean == nil {
			mean = make([]float64, len(f))
		}
		for k, v := range f {
			mean[k] += v / float64(len(list))
		}
	}
	return mean
}

func pairOf(v []float64) string {
	var parts []string
	for _, x := range v {
		parts = append(parts, fmt.Sprintf("%.0f", x))
	}
	return strings.Join(parts, ", ")
}

// figure is a plot with the end of its file name.
type figure struct {
	suffix, title string
	drawing       *report.Drawing
}

func (rs *results) plots(s *scenario, k key, ways []string) []figure {
	cdf := report.Plot{Title: fmt.Sprintf("%s, %s, %s: distribution", s.name, s.title(k.load), k.pair), XLabel: "load time s", YLabel: "share of repetitions"}
	bytes := report.Bars{Title: "Bytes by network", Unit: "MB, mean of a repetition", Parts: []string{net1, net2}}
	line := report.Plot{Title: fmt.Sprintf("%s, %s: rung over time", s.name, s.title(k.load)), XLabel: "s", YLabel: "rung", Steps: true}
	for _, w := range ways {
		cell := with(k, w)
		list := rs.of(cell)
		cdf.Series = append(cdf.Series, report.CDF(w, rs.values(cell)))
		bytes.Bars = append(bytes.Bars, report.Bar{Name: w, Parts: meanOf(list, func(r *record) []float64 {
			return []float64{float64(r.Bytes[0]) / 1e6, float64(r.Bytes[1]) / 1e6}
		})})
		if v := list[0].Video; v != nil {
			one := report.Series{Name: w}
			for _, seg := range v.Segments {
				one.X, one.Y = append(one.X, seg.At), append(one.Y, float64(seg.Rung))
			}
			line.Series = append(line.Series, one)
		}
	}
	switch s.work {
	case video:
		return []figure{{"-rungs", line.Title, line.Draw()}, {"-bytes", bytes.Title, bytes.Draw()}}
	case messages:
		cdf.XLabel, cdf.YLabel = "latency s", "share of messages"
		for i, w := range ways {
			var all []float64
			for _, r := range rs.of(with(k, w)) {
				all = append(all, r.Messages.Latencies...)
			}
			cdf.Series[i] = report.CDF(w, all)
		}
	}
	return []figure{{"-times", cdf.Title, cdf.Draw()}, {"-bytes", bytes.Title, bytes.Draw()}}
}

// simulateSame plays the page loads that were measured in virtual time as well.
func simulateSame(list []scenario) (map[key]float64, error) {
	const repeats = 9
	medians := map[key]float64{}
	for i := range list {
		s := &list[i]
		if s.work != pages && s.work != files {
			continue
		}
		for _, pair := range s.pairs {
			for w, scheme := range schemesOf(s) {
				for _, load := range s.loads {
					page, err := pageOf(load)
					if err != nil {
						return nil, err
					}
					h, err := simulate.NewHost(simulate.Config{Paths: pair[:], Scheme: scheme, Seed: 1, TLS: secure(load)})
					if err != nil {
						return nil, err
					}
					var all []float64
					for range repeats {
						all = append(all, h.Load(&page).Seconds())
						h.Idle(time.Second)
					}
					medians[key{s.name, pair.String(), load, w}] = report.MedianOf(all).Median
				}
			}
		}
	}
	return medians, nil
}

// schemesOf are the simulator's counterparts of a scenario's ways.
func schemesOf(s *scenario) map[string]simulate.Scheme {
	m := map[string]simulate.Scheme{net1: simulate.Net(1), net2: simulate.Net(2), multipath: simulate.MPTCP()}
	for _, p := range s.policies {
		if p.Policy == "rr_naive" {
			m[p.Name] = simulate.RoundRobin()
		} else {
			m[p.Name] = simulate.Policy(p.Policy)
		}
	}
	return m
}

// deviation compares measured with simulated medians: the median and the 90th
// percentile of the absolute relative difference, over the given number of cells.
func (rs *results) deviation() (median, p90 float64, cells int) {
	var all []float64
	for k, sim := range rs.simulated {
		if m := rs.median(k); !math.IsNaN(m) && m > 0 {
			all = append(all, math.Abs(sim-m)/m)
		}
	}
	return report.Quantile(all, 0.5), report.Quantile(all, 0.9), len(all)
}
