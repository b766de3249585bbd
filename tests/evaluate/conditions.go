package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/conditions"
	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
)

// conditionsReport plays the groups of conditions of a seed, and renders what came of it.
// readings is the time between two readings of connections.
func conditionsReport(ctx context.Context, seed uint64, every, workers int, readings time.Duration, progress func(format string, args ...any)) (string, error) {
	schemes := []simulate.Scheme{simulate.Policy("threshold"), simulate.Policy("adaptive")}
	head := []string{"group of conditions", "cases"}
	for _, s := range schemes {
		head = append(head, s.Name, "worst")
	}
	times := &report.Table{Head: head}
	films := &report.Table{Head: head}
	begun := time.Now()
	for _, g := range conditions.Groups(seed) {
		g = g.Every(every)
		for i := range g.Cases {
			g.Cases[i].Host.Readings = readings
		}
		results, err := conditions.Run(ctx, g, schemes, workers)
		if err != nil {
			return "", err
		}
		table, unit := times, "x"
		if g.Films() {
			table, unit = films, ""
		}
		row := []string{g.Name, fmt.Sprint(len(g.Cases))}
		for i := range schemes {
			s := conditions.Summarise(results[i], g.Films())
			row = append(row, fmt.Sprintf("%.2f / %d / %d / %.2f%s", s.Mean, s.Over5, s.Over50, s.Worst, unit), s.WorstAt)
		}
		table.Add(row...)
		progress("conditions: %s", strings.Join(row[:4], ", "))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Groups of conditions, drawn from seed %d, in virtual time; played in %v. ", seed, time.Since(begun).Round(time.Second))
	b.WriteString("Time over that of the best single network: geometric mean / cases over 1.05 / over 1.5 / worst.\n\n" + times.Markdown())
	b.WriteString("\nFilms: score less that of the best single network: mean / cases that lose over 0.1 / over 0.5 / worst.\n\n" + films.Markdown())
	return b.String(), nil
}
