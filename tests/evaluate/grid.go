package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// gridSchemes are what is compared on the grid, net 1 and net 2 first.
func gridSchemes() []simulate.Scheme {
	return []simulate.Scheme{
		simulate.Net(1), simulate.Net(2), simulate.RoundRobin(), simulate.MPTCP(), simulate.Ideal(),
		simulate.Policy("earliest_arrival"), simulate.Policy("threshold"), simulate.Policy("earliest_arrival_free_or_busy"),
		simulate.Policy("earliest_arrival_countconns"), simulate.Policy("earliest_arrival_probabilities"), simulate.Policy("adaptive"),
	}
}

// gridReport plays the grid of 2018 with so many drawn pages, all after a warm-up or
// each from a cold start, and renders what came of it.
func gridReport(ctx context.Context, pages int, cold bool, workers int, progress func(format string, args ...any)) (string, error) {
	// The heap is small, so that collecting it at the usual rate takes a fifth of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	pairs, schemes := simulate.Grid(), gridSchemes()
	begun := time.Now()
	var done atomic.Int64
	play, known := simulate.Run, "the estimates are those of a warm-up of 10 s per path"
	if cold {
		play, known = simulate.RunCold, "each page is the first one of a host that has measured nothing"
	}
	times, err := play(ctx, pairs, schemes, workload.Drawn(pages, 1), workers, func() {
		if n := done.Add(1); n%16 == 0 {
			left := time.Duration(float64(time.Since(begun)) / float64(n) * float64(int64(len(pairs))-n))
			progress("grid %d of %d pairs, about %v left", n, len(pairs), left.Round(time.Second))
		}
	})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d pairs of access links, %d drawn pages each, half like P1 and half like P2: %d cases. Played in virtual time, in %v, by the policies themselves; %s.\n\n",
		len(pairs), pages, len(pairs)*pages, time.Since(begun).Round(time.Second), known)
	net1 := &report.Table{Head: []string{"scheme", "faster than net 1", "over 2x", "slower by over 1 %", "pairs faster", "pairs over 2x", "pairs slower"}}
	better := &report.Table{Head: []string{"scheme", "time of the better net's (geometric mean)", "cases over 5 % slower", "99th percentile", "pairs over 5 % slower", "worst pair", "at"}}
	for i, s := range schemes {
		sum := times.Summary(pairs, i, 0, 1)
		net1.Add(s.Name, report.Percent(sum.Faster), report.Percent(sum.Twice), report.Percent(sum.Slower),
			report.Percent(sum.PairsFaster), report.Percent(sum.PairsTwice), report.Percent(sum.PairsSlower))
		better.Add(s.Name, report.Number(sum.Mean), report.Percent(sum.Worse), report.Number(sum.P99),
			report.Percent(sum.PairsWorse), report.Number(sum.WorstPair), sum.WorstAt.String())
	}
	b.WriteString("Compared with the default network alone; a case is a page over a pair, \"pairs\" takes all pages of a pair together:\n\n" + net1.Markdown())
	b.WriteString("\nCompared with the better of the two networks:\n\n" + better.Markdown())
	return b.String(), nil
}
