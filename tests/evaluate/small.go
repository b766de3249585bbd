package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/socket-intents/mamma/tests/evaluate/conditions"
	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// smallLimit is the time up to which a small condition goes well, as a multiple of the
// best single network's. It is the 1.05 of the table of groups, and as much again
// because runs over emulated links differ by that.
const smallLimit = 1.10

// farFromBest is the time, as a multiple of the best single network's, from which on a
// network alone is not played. Such a run may take an hour, and cannot be the best.
const farFromBest = 3

// chosen returns the cases of those names, in the order of the names; all cases where none
// are given.
func chosen(g conditions.Group, names []string) (conditions.Group, error) {
	if len(names) == 0 {
		return g, nil
	}
	list := conditions.Group{Name: g.Name}
	for _, name := range names {
		i := slices.IndexFunc(g.Cases, func(c conditions.Case) bool { return c.Name == name })
		if i < 0 {
			var known []string
			for _, c := range g.Cases {
				known = append(known, strconv.Quote(c.Name))
			}
			return list, fmt.Errorf("no small condition %q; there are %s", name, strings.Join(known, ", "))
		}
		list.Cases = append(list.Cases, g.Cases[i])
	}
	return list, nil
}

// smallOnes plays the small conditions of those names, or all, in virtual time and over
// emulated links.
func (e *evaluation) smallOnes(ctx context.Context, names []string, out io.Writer) error {
	group, err := chosen(conditions.Small(), names)
	if err != nil {
		return err
	}
	schemes := []simulate.Scheme{simulate.Policy("threshold"), simulate.Policy("adaptive"), simulate.Net(1), simulate.Net(2)}
	simulated, err := conditions.Run(ctx, group, schemes, 2)
	if err != nil {
		return err
	}
	e.progress("small conditions in virtual time")
	played, err := e.smallLive(ctx, group.Cases, simulated[2:])
	if err != nil {
		return err
	}
	t := &report.Table{Head: []string{"small condition", "threshold, simulated", "adaptive, simulated", "adaptive, live", ""}}
	for i, c := range group.Cases {
		threshold, adaptive := simulated[0][i].Value, simulated[1][i].Value
		t.Add(c.Name, fmt.Sprintf("%.2f", threshold), fmt.Sprintf("%.2f", adaptive), played[i].String(), played[i].verdict(adaptive))
	}
	_, err = fmt.Fprintf(out, "%s\nSmall conditions: time over that of the best single network, of the film the score less the best's. Live: over emulated links, medians of %d runs, each on a host of its own.\n\n%s", e.machine, e.plan.repeats, t.Markdown())
	return err
}

// smallPlayed is how a small condition went over emulated links.
type smallPlayed struct {
	ratio float64 // of the medians
	left  string  // why it was not played
}

func (p smallPlayed) String() string {
	if p.left != "" {
		return "-"
	}
	return fmt.Sprintf("%.2f", p.ratio)
}

// verdict compares the result with that of the simulation.
func (p smallPlayed) verdict(simulated float64) string {
	switch {
	case p.left != "":
		return p.left
	case (p.ratio <= smallLimit) == (simulated <= smallLimit):
		return "the same verdict"
	}
	return "another verdict"
}

// smallLive plays cases over emulated links, several at a time. alone is how each went in
// virtual time over each network alone.
func (e *evaluation) smallLive(ctx context.Context, cases []conditions.Case, alone [][]conditions.Result) ([]smallPlayed, error) {
	dir, err := os.MkdirTemp("", "evaluate-small")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program, err := stage.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	played := make([]smallPlayed, len(cases))
	e.todo.Store(int64(len(cases)))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(e.plan.parallel)
	rates := semaphore.NewWeighted(maxRate)
	for i := range cases {
		c := &cases[i]
		rate := 0.0
		for _, p := range c.Host.Paths {
			rate += p.Mbps
		}
		weight := min(maxRate, int64(math.Ceil(rate)))
		if err := rates.Acquire(ctx, weight); err != nil {
			break // the first error is that of the group
		}
		g.Go(func() error {
			defer rates.Release(weight)
			defer e.done.Add(1)
			begun := time.Now()
			var networks []int
			for n := range alone {
				if alone[n][i].Value < farFromBest {
					networks = append(networks, n)
				}
			}
			var err error
			if played[i], err = e.small(ctx, program, filepath.Join(dir, fmt.Sprint(i)), c, networks); err != nil {
				if ctx.Err() != nil {
					return err
				}
				played[i].left = fmt.Sprintf("failed: %v", err) // the others are worth having
			}
			e.progress("small condition over emulated links: %s: %v %s, in %v", c.Name, played[i], played[i].left, time.Since(begun).Round(time.Second))
			return nil
		})
	}
	return played, g.Wait()
}

// small plays a case over each of the networks alone and by adaptive, in turn.
func (e *evaluation) small(ctx context.Context, program, dir string, c *conditions.Case, networks []int) (smallPlayed, error) {
	if c.Film != nil {
		return smallPlayed{left: "films are E9's"}, nil
	}
	alone := make([][]float64, len(networks))
	var adaptive []float64
	for range e.plan.repeats {
		for i, n := range networks {
			s, err := e.smallOnce(ctx, program, dir, c, "", n)
			if errors.Is(err, live.ErrForeign) {
				return smallPlayed{left: err.Error()}, nil
			}
			if err != nil {
				return smallPlayed{}, fmt.Errorf("net %d: %w", n+1, err)
			}
			alone[i] = append(alone[i], s)
		}
		s, err := e.smallOnce(ctx, program, dir, c, "adaptive", 0)
		if err != nil {
			return smallPlayed{}, fmt.Errorf("adaptive: %w", err)
		}
		adaptive = append(adaptive, s)
	}
	best := math.Inf(1)
	for _, times := range alone {
		best = min(best, report.MedianOf(times).Median)
	}
	return smallPlayed{ratio: report.MedianOf(adaptive).Median / best}, nil
}

// smallOnce plays a case on a host of its own: by a policy, or without one over a network.
func (e *evaluation) smallOnce(ctx context.Context, program, dir string, c *conditions.Case, policy string, network int) (seconds float64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	host := c.Host
	if policy == "" {
		host.Cold = true // nobody measures, so a warm-up would change nothing
	}
	h, err := live.NewHost(ctx, program, dir, host, policy, network)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	seconds = c.Seconds(h)
	return seconds, h.Err()
}
