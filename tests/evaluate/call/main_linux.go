package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/pulse"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if actor, err := stage.Act(map[string]stage.Job{"call": stage.Typed(call)}); actor {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, testbed.ErrUnavailable) && os.Getenv(required.Env) == "":
		fmt.Printf("SKIPPED: E12: %v\n", err) // as internal/testing/tally reads it
	case err != nil:
		fmt.Fprintf(os.Stderr, "call: %v\n", err)
		os.Exit(1)
	}
}

// Limits of --quick. They are wide, because the calls are short and the machine may be
// busy. A call by intent may be quickBelow worse than the better network alone. Where that one
// is better than the other one by so much, the call must be above the other one by a part of the
// difference, quickAbove.
const (
	quickBelow = 0.5
	quickAbove = 0.25
	quickTries = 3
)

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("call", flag.ContinueOnError)
	repeat := fs.Int("repeat", 5, "how often each case is measured")
	quick := fs.Bool("quick", false, "measure little, and fail if a limit is exceeded")
	policy := fs.String("policy", "adaptive", "the policy of the daemon, adaptive or threshold")
	verbose := fs.Bool("v", false, "show each call with its windows and moves")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || *repeat < 1 || *policy != "adaptive" && *policy != "threshold" {
		return errors.New("flags only, --repeat at least 1, --policy adaptive or threshold; see --help")
	}
	dir, err := os.MkdirTemp("", "e12")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m := &measuring{dir: dir, policy: *policy, out: out}
	if m.program, err = stage.Build(ctx, dir); err != nil {
		return err
	}
	if *quick {
		return m.judge(ctx)
	}
	list := scenes(time.Minute)
	results := make([][]map[string]result, len(list))
	watch := pulse.New()
	for range *repeat {
		all, err := m.all(ctx, list)
		if err != nil {
			return err
		}
		for i := range list {
			results[i] = append(results[i], all[i])
			if *verbose {
				m.show(&list[i], all[i])
			}
		}
	}
	if err := m.table(list, results); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%d calls in each case. The emulated links were late, as the processor was busy, for %.1f %% of the time.\n", *repeat, 100*watch.Stop())
	return err
}

// measuring is what calls are measured with.
type measuring struct {
	dir, program, policy string
	out                  io.Writer
	count                int
}

// all measures one call in each case, at the same time, each on a host of its own.
func (m *measuring) all(ctx context.Context, list []scene) ([]map[string]result, error) {
	results := make([]map[string]result, len(list))
	g, ctx := errgroup.WithContext(ctx)
	for i := range list {
		m.count++
		dir := filepath.Join(m.dir, fmt.Sprint(m.count))
		seed := uint64(m.count)
		g.Go(func() (err error) {
			if results[i], err = measure(ctx, m.program, dir, m.policy, &list[i], seed); err != nil {
				return fmt.Errorf("%s: %w", list[i].name, err)
			}
			return nil
		})
	}
	return results, g.Wait()
}

// judge measures a little, and fails if a call by intent is worse than it may be each time.
func (m *measuring) judge(ctx context.Context) error {
	todo := slices.DeleteFunc(scenes(24*time.Second), func(s scene) bool { return !s.quick })
	for try := 1; len(todo) > 0; try++ {
		watch := pulse.New()
		all, err := m.all(ctx, todo)
		late := watch.Stop()
		if err != nil {
			return err
		}
		var again []scene
		var verdicts []error
		for i := range todo {
			m.show(&todo[i], all[i])
			ours, one, two := all[i][byIntent].mos, all[i][net1].mos, all[i][net2].mos
			if !wellEnough(ours, one, two) {
				again = append(again, todo[i])
				verdicts = append(verdicts, fmt.Errorf("%s: MOS %.2f, over each network alone %.2f and %.2f", todo[i].name, ours, one, two))
			}
		}
		todo = again
		switch {
		case len(todo) > 0 && late > pulse.TooLate:
			_, err := fmt.Fprintf(m.out, "SKIPPED: E12: the machine was too busy to judge calls\nThe links were late for %.0f %% of the time.\n", 100*late)
			return err
		case len(todo) > 0 && try == quickTries:
			return errors.Join(verdicts...)
		}
	}
	return nil
}

// wellEnough tells whether a call by intent is within the limits, beside one over each network.
func wellEnough(ours, one, two float64) bool {
	best, worst := max(one, two), min(one, two)
	return ours >= best-quickBelow && (best-worst < quickBelow || ours >= worst+quickAbove*(best-worst))
}

// show prints the calls of one case.
func (m *measuring) show(sc *scene, r map[string]result) {
	for _, who := range callers {
		var each []string
		for _, w := range r[who].each {
			each = append(each, fmt.Sprintf("%.1f", w))
		}
		_, _ = fmt.Fprintf(m.out, "%s, %s: MOS %.2f (%s), %.1f %% lost or late, %.0f ms; %s\n",
			sc.name, who, r[who].mos, strings.Join(each, " "), 100*r[who].unheard, r[who].delay, strings.Join(r[who].moves, "; "))
	}
}

// table prints the medians.
func (m *measuring) table(list []scene, results [][]map[string]result) error {
	t := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "case\tcall over\tMOS, median (least to most)\tworst 5 s\tlost or late\tmouth to ear\tmoves")
	for i := range list {
		for _, who := range callers {
			var mos, worst, unheard, delay, moves []float64
			for _, r := range results[i] {
				mos, worst, unheard = append(mos, r[who].mos), append(worst, r[who].worst), append(unheard, 100*r[who].unheard)
				delay, moves = append(delay, r[who].delay), append(moves, float64(len(r[who].moves)))
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%.2f (%.2f to %.2f)\t%.2f\t%.1f %%\t%.0f ms\t%.0f\n",
				list[i].name, who, median(mos), slices.Min(mos), slices.Max(mos), median(worst), median(unheard), median(delay), median(moves))
		}
	}
	return t.Flush()
}

// median is that of a list that is not empty.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
