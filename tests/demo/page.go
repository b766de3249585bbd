package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// warmup is how long each network is loaded before the measurement, so that the daemons
// know the networks.
const warmup = 2 * time.Second

// names of the networks, the default one first.
func names() []string { return []string{"wifi", "lte"} }

// page loads a page in four ways over emulated links, and shows the times.
func page(ctx context.Context, program, dir string, out io.Writer) error {
	paths := []live.Path{{Mbps: 2, RTT: 10 * time.Millisecond}, {Mbps: 20, RTT: 100 * time.Millisecond}}
	rig, err := live.NewRig(ctx, program, dir, paths, []live.Policy{
		{Name: "round robin", Policy: "rr_naive"},
		{Name: "adaptive", Policy: "adaptive"},
	})
	if err != nil {
		return err
	}
	defer func() { _ = rig.Close() }()
	p := printer{out: out}
	page := workload.P1()
	line := "Two emulated networks:"
	for i, path := range paths {
		line += fmt.Sprintf("  %s %g Mbit/s, %d ms   ", names()[i], path.Mbps, path.RTT.Milliseconds())
	}
	p.line("%s", strings.TrimRight(line, " "))
	p.line("Loading one page (%d objects, %.1f MB) four ways, after %v of measuring on each", len(page.Objects), float64(page.Bytes())/1e6, warmup)
	p.line("")
	var doing atomic.Value
	doing.Store("measuring both networks")
	stop := waiting(func() string { text, _ := doing.Load().(string); return text })
	defer stop()
	if err := rig.Warm(warmup); err != nil {
		return err
	}
	var rows []row
	ways := []live.Way{rig.One(0), rig.One(1), rig.Asked("round robin", live.New), rig.Asked("adaptive", live.Asked)}
	for i, way := range ways {
		doing.Store(fmt.Sprintf("loading the page, %d of %d ways", i+1, len(ways)))
		var got live.Loaded
		if err := rig.Actor.Do("page", live.PageJob{Way: way, Server: rig.Server, Page: page}, &got); err != nil {
			return err
		}
		r := row{name: way.Name, seconds: got.Seconds}
		switch way.Kind {
		case live.One:
			r.name = names()[way.Net] + " only"
		case live.Asked:
			r.note = split(got.Objects)
		}
		rows = append(rows, r)
	}
	stop()
	for _, l := range chart(rows) {
		p.line("  %s", l)
	}
	return p.err
}

// row is one way with its load time.
type row struct {
	name    string
	seconds float64
	note    string
}

// barWidth is the width of the longest bar, in characters.
const barWidth = 40

// chart draws a bar for each row, with a resolution of an eighth of a character.
func chart(rows []row) []string {
	longest, width := 0.0, 0
	for _, r := range rows {
		longest, width = max(longest, r.seconds), max(width, len(r.name))
	}
	var lines []string
	for _, r := range rows {
		eighths := int(r.seconds / longest * barWidth * 8)
		bar := strings.Repeat("█", eighths/8)
		if rest := eighths % 8; rest > 0 {
			bar += string([]rune("▏▎▍▌▋▊▉")[rest-1])
		}
		line := fmt.Sprintf("%-*s  %4.1f s  %s", width, r.name, r.seconds, bar)
		if r.note != "" {
			line += "   " + r.note
		}
		lines = append(lines, line)
	}
	return lines
}

// split tells how much went over which network.
func split(objects []live.Object) string {
	sizes := make([][]int64, len(names()))
	for _, o := range objects {
		if o.Net >= 0 {
			sizes[o.Net] = append(sizes[o.Net], o.Size)
		}
	}
	var parts []string
	for i, list := range sizes {
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		parts = append(parts, fmt.Sprintf("%d over %s (median %.1f kB)", len(list), names()[i], float64(list[len(list)/2])/1000))
	}
	return "objects: " + strings.Join(parts, ", ")
}
