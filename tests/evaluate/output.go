package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/tests/evaluate/report"
)

// reportName is the file that a reader opens first.
const reportName = "README.md"

// write renders the results into the folder: report, plots, and the description
// of the machine. The raw data is there already.
func (rs *results) write(dir string, m machine, notes []string, grid string) ([]finding, error) {
	plots := map[string]*report.Drawing{}
	var b strings.Builder
	fmt.Fprintf(&b, "# Evaluation\n\n%s\n\n", m)
	b.WriteString(`Paths are written rate to the client in Mbit/s / round-trip time in ms, net 1 (the default) + net 2. Links are emulated; TCP is the kernel's, with CUBIC; queues hold
150 ms. Every way loads over the same links, in an order of its own for each repetition, after a warm-up. Figures are medians, with the order-statistic 95 % interval where
there are at least six repetitions. "Simulated" is the median of the same loads in virtual time. The raw data is in ` + rawName + ".\n\n")
	if len(rs.records) > 0 {
		notes = append(notes, fmt.Sprintf("Emulated links were late, as the processor was busy, for %s of the time.", report.Percent(rs.late(""))))
	}
	notes = append(notes, rs.failures()...)
	for _, n := range notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	if len(notes) > 0 {
		b.WriteString("\n")
	}
	all := rs.findings(rs.plan.scenarios)
	if len(all) > 0 {
		t := &report.Table{Head: []string{"scenario", "expected", "measured", ""}}
		for _, f := range all {
			t.Add(f.scenario, f.expected, f.measured, string(f.verdict))
		}
		b.WriteString("## Expectations\n\n" + t.Markdown() + "\n")
	}
	if median, p90, cells := rs.deviation(); cells > 0 {
		fmt.Fprintf(&b, "The simulator deviates from the emulated links by %s in the median of %d cells, and by at most %s in nine of ten.\n\n", report.Percent(median), cells, report.Percent(p90))
	}
	if grid != "" {
		b.WriteString("## The grid of 384 pairs\n\n" + grid + "\n")
	}
	for i := range rs.plan.scenarios {
		b.WriteString(rs.section(&rs.plan.scenarios[i], plots))
	}
	for _, name := range slices.Sorted(maps.Keys(plots)) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".svg", []byte(plots[name].SVG()), 0o644); err != nil {
			return nil, err
		}
		image, err := plots[name].PNG()
		if err == nil {
			err = os.WriteFile(path+".png", image, 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "machine.json"), append(text, '\n'), 0o644); err != nil {
		return nil, err
	}
	return all, os.WriteFile(filepath.Join(dir, reportName), []byte(b.String()), 0o644)
}
