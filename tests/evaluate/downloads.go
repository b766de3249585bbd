package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
)

// fileSize is how large the file is that comes over both networks.
const fileSize = 20_000_000

// download is a condition that a file is fetched in.
type download struct {
	name string
	pair simulate.Pair
	// change is what a network, the first is 0, becomes in the middle of the download by
	// the better network alone; nil: nothing happens.
	change  *simulate.Path
	changes int
	wanted  float64 // times the better network's rate
}

// downloads are the conditions that something is wanted of, the grid excepted.
func downloads() []download {
	pair := simulate.PairOf
	list := []download{
		{name: "equal", pair: pair(20, 20, 20, 20), wanted: 1.7},
		{name: "alike", pair: pair(6, 50, 5, 50), wanted: 1.5},
		{name: "slow and near, fast and far", pair: pair(2, 10, 20, 100), wanted: 1.05},
	}
	lossy := pair(20, 20, 20, 20)
	for i := range lossy {
		one := lossy
		one[i].Loss = 0.03
		list = append(list, download{name: fmt.Sprintf("network %d loses 3 %%", i+1), pair: one, wanted: 0.98})
	}
	for i := range lossy {
		slow, dead := simulate.Path{Mbps: 1, RTT: lossy[i].RTT}, simulate.Path{Mbps: 0, RTT: lossy[i].RTT}
		list = append(list,
			download{name: fmt.Sprintf("network %d falls to 1 Mbit/s for good", i+1), pair: lossy, change: &slow, changes: i, wanted: 0.98},
			download{name: fmt.Sprintf("network %d dies", i+1), pair: lossy, change: &dead, changes: i, wanted: 0.98})
	}
	return list
}

// host makes a host with the paths, of which one changes after a while.
func (d *download) host(paths []simulate.Path, changes int, after time.Duration) (*simulate.Host, error) {
	h, err := simulate.NewHost(simulate.Config{Paths: paths, Scheme: simulate.Net(1), Cold: true, Seed: 1})
	if err == nil && d.change != nil && changes >= 0 {
		h.After(after, func() { h.Set(changes, *d.change) })
	}
	return h, err
}

// gains are how many times the better network's rate a split brings: saved as it comes,
// and read in order.
func (d *download) gains() (saved, read float64, err error) {
	alone := time.Duration(math.MaxInt64)
	for i := range d.pair {
		h, err := d.host(d.pair[i:i+1], -1, 0)
		if err != nil {
			return 0, 0, err
		}
		// A network that changes is never the better one: where it does, the other is left.
		if d.change == nil || i != d.changes {
			alone = min(alone, h.Fetch(fileSize))
		}
	}
	for i, inOrder := range []bool{false, true} {
		h, err := d.host(d.pair[:], d.changes, alone/4) // the middle, as both take half as long
		if err != nil {
			return 0, 0, err
		}
		*[]*float64{&saved, &read}[i] = alone.Seconds() / h.Split(fileSize, inOrder).Seconds()
	}
	return saved, read, nil
}

// downloadsReport plays the conditions and the grid in virtual time.
func downloadsReport(ctx context.Context, progress func(format string, args ...any)) (string, error) {
	begun := time.Now()
	t := &report.Table{Head: []string{"condition", "networks", "wanted", "saved as it comes", "read in order", ""}}
	for _, d := range downloads() {
		saved, read, err := d.gains()
		if err != nil {
			return "", err
		}
		t.Add(d.name, d.pair.String(), report.Number(d.wanted), report.Number(saved), report.Number(read), verdictOf(d.wanted, saved, read))
	}
	progress("downloads: %d conditions", len(downloads()))
	pairs := simulate.Grid()
	saved, read := make([]float64, len(pairs)), make([]float64, len(pairs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i, pair := range pairs {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			d := download{pair: pair}
			saved[i], read[i], err = d.gains()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	grid := &report.Table{Head: []string{"grid of 384 pairs", "geometric mean", "pairs below 0.98", "below 0.9", "worst", "at"}}
	for _, row := range []struct {
		name  string
		gains []float64
	}{{"saved as it comes", saved}, {"read in order", read}} {
		grid.Add(gridRow(row.name, row.gains, pairs)...)
	}
	progress("downloads: the grid")
	var b strings.Builder
	fmt.Fprintf(&b, "A file of %d MB over both networks by ranges, in times of the rate of the better network alone (for a network that changes, of the other one). Played in virtual time, in %v, by the plan of `internal/split`; the first range goes over the network of the higher rate.\n\n%s\n%s",
		fileSize/1_000_000, time.Since(begun).Round(time.Second), t.Markdown(), grid.Markdown())
	return b.String(), nil
}

// reaches compares figures of two digits, as the report shows them.
func reaches(wanted float64, gains ...float64) bool { return slices.Min(gains) >= wanted-0.005 }

func verdictOf(wanted float64, gains ...float64) string {
	if reaches(wanted, gains...) {
		return "reached"
	}
	return "missed"
}

func gridRow(name string, gains []float64, pairs []simulate.Pair) []string {
	logs, below, far, worst := 0.0, 0, 0, 0
	for i, g := range gains {
		logs += math.Log(g)
		if g < 0.98 {
			below++
		}
		if g < 0.9 {
			far++
		}
		if g < gains[worst] {
			worst = i
		}
	}
	return []string{name, report.Number(math.Exp(logs / float64(len(gains)))), fmt.Sprint(below), fmt.Sprint(far), report.Number(gains[worst]), pairs[worst].String()}
}
