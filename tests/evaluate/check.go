package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
	"github.com/socket-intents/mamma/tests/internal/pulse"
)

// limit is a bound for a scenario of the quick selection: the median of a way may be at most
// this many times the median of the better network. The bounds are just narrow enough to show
// a policy that has stopped working.
type limit struct {
	scenario, load, way string
	most                float64
}

func limits() []limit {
	return []limit{
		{"E1", "P1", "adaptive", 1.25},
		{"E1", "P1", "threshold", 2.2},
		{"E2", "P1", "adaptive", 0.8},
		{"E2", "P1", "threshold", 0.95},
		{"E7", "10000", "adaptive", 1.5},
		{"E7", "10000", "threshold", 1.5},
		{"E7", "1000000", "adaptive", 1.25},
		{"E7", "1000000", "threshold", 1.25},
	}
}

// quickTries is how often a scenario of the quick selection is measured if it exceeds a limit.
const quickTries = 3

// quickly makes the quick check: first the policies in virtual time, in which every figure is
// exact, then some scenarios over emulated links. Over links, a policy fails only if it exceeds
// a limit each time and the machine was never too busy. If the machine was too busy, or if links
// cannot be emulated, the scenario is not judged.
func (e *evaluation) quickly(ctx context.Context, out io.Writer) error {
	if err := virtually(ctx, out); err != nil {
		return err
	}
	var verdicts []error
	for todo, try := e.plan.scenarios, 1; len(todo) > 0; try++ {
		e.plan.scenarios = todo
		err := e.once(ctx)
		if errors.Is(err, testbed.ErrUnavailable) && os.Getenv(required.Env) == "" {
			_, err = fmt.Fprintf(out, "SKIPPED: evaluation: nothing was measured: %v (%s=1 makes this a failure)\n", err, required.Env)
			return err
		}
		if err != nil && (try == quickTries || ctx.Err() != nil) {
			return err
		}
		todo = nil
		e.results.plan = e.plan
		for i := range e.plan.scenarios {
			s := e.plan.scenarios[i]
			over := e.exceeded(&s, out)
			late := e.results.late(s.name)
			switch {
			case over == nil:
			case late > pulse.TooLate:
				if _, err := fmt.Fprintf(out, "SKIPPED: evaluation: the machine was too busy to judge %s\nLinks were late for %s of the time.\n", s.name, report.Percent(late)); err != nil {
					return err
				}
			case try < quickTries:
				todo = append(todo, s)
			default:
				verdicts = append(verdicts, over)
			}
		}
	}
	return errors.Join(verdicts...)
}

// once measures the plan in a folder that is thrown away.
func (e *evaluation) once(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "evaluation")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	e.dir = dir
	return e.measure(ctx)
}

// exceeded prints how a scenario went, and tells which limits it exceeded.
func (e *evaluation) exceeded(s *scenario, out io.Writer) error {
	rs := &e.results
	var failed []error
	for _, l := range limits() {
		if s.name != l.scenario {
			continue
		}
		k := key{s.name, s.pairs[0].String(), l.load, l.way}
		m := rs.median(k)
		ratio := m / rs.better(k)
		word := "ok"
		if !(ratio <= l.most) {
			word = "exceeded"
			failed = append(failed, fmt.Errorf("%s, %s by %s takes %.2f of the better network's time, at most %.2f are allowed", l.scenario, s.title(l.load), l.way, ratio, l.most))
		}
		if _, err := fmt.Fprintf(out, "%-10s %-8s %-10s %6s s, %s of the better network's time, at most %s: %s\n", s.name, s.title(l.load), l.way, report.Number(m), report.Number(ratio), report.Number(l.most), word); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// virtually plays a part of the grid.
func virtually(ctx context.Context, out io.Writer) error {
	const (
		every = 13 // of the pairs; the grid repeats after 16
		pages = 4
	)
	var pairs []simulate.Pair
	for i, p := range simulate.Grid() {
		if i%every == 0 {
			pairs = append(pairs, p)
		}
	}
	schemes := []simulate.Scheme{simulate.Net(1), simulate.Net(2), simulate.Policy("threshold"), simulate.Policy("adaptive")}
	times, err := simulate.Run(ctx, pairs, schemes, workload.Drawn(pages, 1), runtime.NumCPU(), nil)
	if err != nil {
		return err
	}
	threshold, adaptive := times.Summary(pairs, 2, 0, 1), times.Summary(pairs, 3, 0, 1)
	if _, err := fmt.Fprintf(out, "%-10s threshold is faster than net 1 in %s of %d cases, adaptive in %s, slower in %s, over 5 %% slower than the better net in %s; mean %s\n",
		"simulated", report.Percent(threshold.Faster), threshold.Cases, report.Percent(adaptive.Faster), report.Percent(adaptive.Slower), report.Percent(adaptive.Worse), report.Number(adaptive.Mean)); err != nil {
		return err
	}
	if threshold.Faster < 0.5 || adaptive.Faster < 0.6 || adaptive.Slower > 0.03 || adaptive.Worse > 0.03 || adaptive.Mean > 0.93 {
		return errors.New("a policy does worse in virtual time than it used to")
	}
	return nil
}
