package simulate

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// Pair is two access links; the first is the default.
type Pair [2]Path

func (p Pair) String() string { return fmt.Sprintf("%s + %s", p[0], p[1]) }

// String gives rate and round-trip time as in doc/original/evaluation.md: "2/10".
func (p Path) String() string { return fmt.Sprintf("%g/%d", p.Mbps, p.RTT.Milliseconds()) }

// PairOf makes a pair of rates in Mbit/s and round-trip times in milliseconds.
func PairOf(mbps1, rtt1, mbps2, rtt2 float64) Pair {
	return Pair{
		{Mbps: mbps1, RTT: time.Duration(rtt1 * float64(time.Millisecond))},
		{Mbps: mbps2, RTT: time.Duration(rtt2 * float64(time.Millisecond))},
	}
}

// Grid is the 384 pairs of the study of 2018 (doc/original/evaluation.md, "Published claims").
func Grid() []Pair {
	var grid []Pair
	for _, r1 := range []float64{0.5, 2, 6, 12, 20, 50} {
		for _, t1 := range []float64{10, 20, 30, 50} {
			for _, r2 := range []float64{0.5, 5, 20, 50} {
				for _, t2 := range []float64{20, 50, 100, 200} {
					grid = append(grid, PairOf(r1, t1, r2, t2))
				}
			}
		}
	}
	return grid
}

// between is the pause between two pages.
const between = time.Second

// Times are load times: by pair, scheme and page.
type Times [][][]time.Duration

// Run loads all pages over each pair by each scheme, one after the other on the
// same host, with the given number of pairs at a time. done is called after each
// pair, by several goroutines.
func Run(ctx context.Context, pairs []Pair, schemes []Scheme, pages []workload.Page, workers int, done func()) (Times, error) {
	return run(ctx, pairs, schemes, pages, workers, done, loadAll)
}

// RunCold is Run, but each page is the first one of a host that has measured nothing.
func RunCold(ctx context.Context, pairs []Pair, schemes []Scheme, pages []workload.Page, workers int, done func()) (Times, error) {
	return run(ctx, pairs, schemes, pages, workers, done, loadEach)
}

// load plays pages and returns how long each took.
type load func(c Config, pages []workload.Page) ([]time.Duration, error)

func run(ctx context.Context, pairs []Pair, schemes []Scheme, pages []workload.Page, workers int, done func(), load load) (Times, error) {
	times := make(Times, len(pairs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i, pair := range pairs {
		g.Go(func() error {
			for k, s := range schemes {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				list, err := load(Config{Paths: pair[:], Scheme: s, Seed: uint64(i*len(schemes) + k + 1)}, pages)
				if err != nil {
					return err
				}
				times[i] = append(times[i], list)
			}
			if done != nil {
				done()
			}
			return nil
		})
	}
	return times, g.Wait()
}

func loadAll(c Config, pages []workload.Page) ([]time.Duration, error) {
	h, err := NewHost(c)
	if err != nil {
		return nil, err
	}
	list := make([]time.Duration, len(pages))
	for j := range pages {
		list[j] = h.Load(&pages[j])
		h.Idle(between)
	}
	return list, nil
}

func loadEach(c Config, pages []workload.Page) ([]time.Duration, error) {
	c.Cold = true
	list := make([]time.Duration, len(pages))
	for j := range pages {
		h, err := NewHost(c)
		if err != nil {
			return nil, err
		}
		list[j] = h.Load(&pages[j])
	}
	return list, nil
}

// Shares sums up a scheme over all cases, each a pair with a page.
type Shares struct {
	Cases int
	// Of the cases, relative to the default path alone: faster by more than 1 %,
	// in less than half the time, slower by more than 1 %.
	Faster, Twice, Slower float64
	// Relative to the better path alone: the geometric mean of the times, the
	// share of cases more than 5 % slower, and the 99th percentile.
	Mean, Worse, P99 float64
	// The same for each pair, all its pages together.
	PairsFaster, PairsTwice, PairsSlower, PairsWorse float64
	WorstPair                                        float64
	WorstAt                                          Pair
}
