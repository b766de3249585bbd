// The evaluation compares the policies with each network alone, with round robin
// and with MPTCP, on the scenarios of doc/original/evaluation.md: real daemons, the real
// client library and the kernel's TCP over emulated links. It writes a folder with
// a report in Markdown, plots, and the raw data.
//
//	go run ./tests/evaluate                       all scenarios, within an hour
//	go run ./tests/evaluate --full                30 repetitions and whole films
//	go run ./tests/evaluate --quick               a minute, fails if a policy does harm
//	go run ./tests/evaluate --scenario E1 --repeat 12
//	go run ./tests/evaluate --simulate            the grid of 384 pairs in virtual time, no links needed
//	go run ./tests/evaluate --simulate --cold     the same, each page on a host that has measured nothing
//	go run ./tests/evaluate --conditions judging  groups of conditions: change, others, loss, nothing known
//	go run ./tests/evaluate --small               conditions with one cause each, simulated and over emulated links
//	go run ./tests/evaluate --small --input "cold, 100 kB" --input "no size"
//	go run ./tests/evaluate --downloads           files over both networks by ranges, beside curl and aria2c
//
// A run that was interrupted goes on where it was when started again with the
// same folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/conditions"
	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const usage = `Usage: go run ./tests/evaluate [flags]

Compares policies over emulated links and writes a report.

  --quick             a short selection that fails if a policy does harm
  --full              30 repetitions, whole films, all policies by size
  --scenario NAME     only this one, E1 to E10 or E1-chromium; may be
                      repeated
  --repeat N          repetitions (6; with --full 30, with --quick 3)
  --parallel N        pairs of links at a time, as long as they have less than
                      80 Mbit/s together (4)
  --chromium          have Chromium load pages in E8, too, not only in E1
  --simulate          only the grid of 384 pairs, in virtual time
  --cold              the grid from a cold start: each page on a host of its own
                      that has measured nothing
  --conditions SET    only the groups of conditions, in virtual time: those of
                      the set "judging", which the whole run has too, or of
                      "tuning"
  --readings TIME     time between two readings of connections, for the groups
                      of conditions (0: each measurement reads them)
  --small             only small conditions with one cause each, in virtual
                      time and over emulated links
  --input NAME        of these, only the one of this name; may be repeated, and
                      they begin in the order given
  --downloads         only files over both networks by ranges: simulated, and
                      over emulated links beside curl and aria2c, if these are
                      there
  --pages N           pages of the grid (100); 0 leaves the grid out
  --out DIR           folder of the report (evaluation, none with --quick);
                      measurements that are there already are not made again

Example: go run ./tests/evaluate --scenario E1 --repeat 12 --pages 0 --out e1
`

func main() {
	// The client library runs in a second process, inside the client host.
	if actor, err := stage.Act(live.Jobs()); actor {
		exit(err)
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing if this does not help
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options are the flags.
type options struct {
	quick, full, simulate, cold, chromium, downloads, small bool
	scenarios, inputs                                       []string
	repeat, parallel                                        int
	pages                                                   int
	out                                                     string
	conditions                                              string
	readings                                                time.Duration
}

func parse(args []string, out io.Writer) (o options, err error) {
	flags := pflag.NewFlagSet("evaluate", pflag.ContinueOnError)
	flags.Usage = func() { _, _ = fmt.Fprint(out, usage) }
	flags.BoolVar(&o.quick, "quick", false, "")
	flags.BoolVar(&o.full, "full", false, "")
	flags.BoolVar(&o.chromium, "chromium", false, "")
	flags.BoolVar(&o.downloads, "downloads", false, "")
	flags.BoolVar(&o.small, "small", false, "")
	flags.BoolVar(&o.simulate, "simulate", false, "")
	flags.BoolVar(&o.cold, "cold", false, "")
	flags.StringArrayVar(&o.scenarios, "scenario", nil, "")
	flags.StringArrayVar(&o.inputs, "input", nil, "")
	flags.IntVar(&o.repeat, "repeat", 0, "")
	flags.IntVar(&o.parallel, "parallel", 4, "")
	flags.IntVar(&o.pages, "pages", 100, "")
	flags.StringVar(&o.conditions, "conditions", "", "")
	flags.DurationVar(&o.readings, "readings", 0, "")
	flags.StringVar(&o.out, "out", "evaluation", "")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	case o.quick && o.full:
		return o, errors.New("--quick and --full exclude each other")
	case o.conditions != "" && o.conditions != "judging" && o.conditions != "tuning":
		return o, fmt.Errorf("--conditions must be judging or tuning, not %q", o.conditions)
	case len(o.inputs) > 0 && !o.small:
		return o, errors.New("--input needs --small")
	case o.readings < 0:
		return o, errors.New("--readings must not be negative")
	case o.repeat < 0 || o.parallel < 1 || o.pages < 0:
		return o, errors.New("--repeat and --pages must be at least 0, --parallel at least 1")
	}
	return o, nil
}

// planOf makes a plan of the flags.
func planOf(o options) (plan, error) {
	p := plan{repeats: 6, warmup: 10 * time.Second, video: 80 * time.Second, bulk: bulkSize, parallel: o.parallel, mptcp: true}
	list := append(scenarios(o.full), chromium(o.chromium)...)
	switch {
	case o.quick:
		p.repeats, p.warmup, p.mptcp, p.short = 3, 2*time.Second, false, true
		list = quick()
	case o.full:
		p.repeats, p.video = 30, 240*time.Second
		for i := range list {
			list[i].share = 10
		}
	}
	if o.repeat > 0 {
		p.repeats = o.repeat
		for i := range list {
			list[i].share = 10
		}
	}
	var err error
	p.scenarios, err = selected(list, o.scenarios)
	// The films take longest, so they begin first; the short parts of E8 are last.
	slices.SortStableFunc(p.scenarios, func(a, b scenario) int { return order(a) - order(b) })
	return p, err
}

func order(s scenario) int {
	switch {
	case s.work == video:
		return 0
	case len(s.pairs) > 1:
		return 2
	}
	return 1
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	o, err := parse(args, out)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := planOf(o)
	if err != nil {
		return err
	}
	e := &evaluation{plan: p, dir: o.out, log: log, begun: time.Now(), machine: thisMachine(time.Now()), notes: map[string]bool{}}
	status := terminal.Show(log, os.Getenv, e.far)
	defer status.Stop()
	e.log, out = status, status.Above(out)
	if o.quick {
		return e.quickly(ctx, out)
	}
	if o.small {
		return e.smallOnes(ctx, o.inputs, out)
	}
	if o.downloads {
		return e.fetchFiles(ctx, out)
	}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return err
	}
	if !o.virtual() {
		if err := e.measure(ctx); err != nil {
			return err
		}
	}
	if err := e.inVirtualTime(ctx, o); err != nil {
		return err
	}
	all, err := e.report(o)
	if err != nil {
		return err
	}
	missedOnes := 0
	for _, f := range all {
		if f.verdict == missed {
			missedOnes++
		}
	}
	_, err = fmt.Fprintf(out, "%s: %d expectations, %d missed\n", filepath.Join(e.dir, reportName), len(all), missedOnes)
	return err
}

// virtual tells that nothing is measured over emulated links.
func (o options) virtual() bool { return o.simulate || o.conditions != "" }

// inVirtualTime plays the grid and the conditions, unless only scenarios were asked for.
func (e *evaluation) inVirtualTime(ctx context.Context, o options) error {
	if len(o.scenarios) > 0 {
		return nil
	}
	if o.pages > 0 && o.conditions == "" {
		grid, err := gridReport(ctx, o.pages, o.cold, runtime.NumCPU(), e.progress)
		if err != nil {
			return err
		}
		e.grid = grid
	}
	if o.simulate {
		return nil
	}
	seed := uint64(conditions.Judging)
	if o.conditions == "tuning" {
		seed = conditions.Tuning
	}
	text, err := conditionsReport(ctx, seed, 1, runtime.NumCPU(), o.readings, e.progress)
	if err != nil {
		return err
	}
	if e.grid != "" {
		e.grid += "\n"
	}
	e.grid += text
	return nil
}

// evaluation is a run.
type evaluation struct {
	plan    plan
	dir     string
	begun   time.Time
	machine machine
	grid    string
	results results

	todo, done atomic.Int64 // repetitions over emulated links
	writing    sync.Mutex   // of the report

	mu    sync.Mutex // guards what follows
	log   io.Writer
	notes map[string]bool
}

func (e *evaluation) progress(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _ = fmt.Fprintf(e.log, "%6.0f s  %s\n", time.Since(e.begun).Seconds(), fmt.Sprintf(format, args...))
}

// far tells how far the run is, for somebody at a terminal.
func (e *evaluation) far(elapsed time.Duration) string {
	todo, done := e.todo.Load(), e.done.Load()
	text := fmt.Sprintf("%v", elapsed.Round(time.Second))
	switch {
	case todo == 0 || done == todo:
		return text + ", playing in virtual time"
	case done == 0:
		return text + fmt.Sprintf(", the first of %d repetitions", todo)
	}
	left := time.Duration(float64(elapsed) / float64(done) * float64(todo-done))
	return text + fmt.Sprintf(", %d of %d repetitions, about %v left", done, todo, left.Round(time.Second))
}

func (e *evaluation) skipped(what string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes[fmt.Sprintf("%s was left out: %v", what, err)] = true
}

// measure carries the plan out.
func (e *evaluation) measure(ctx context.Context) error {
	bin, err := os.MkdirTemp("", "evaluate-bin")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	program, err := stage.Build(ctx, bin)
	if err != nil {
		return err
	}
	j, err := openJournal(e.dir)
	if err != nil {
		return err
	}
	defer func() { _ = j.file.Close() }() // every record was flushed
	p := &performer{plan: e.plan, program: program, journal: j, progress: e.progress, skipped: e.skipped, done: &e.done}
	e.done.Store(0)
	e.todo.Store(p.todo())
	p.finished = func() error {
		if e.plan.short {
			return nil
		}
		return e.soFar(j.all())
	}
	err = p.run(ctx)
	e.results.records = j.all()
	return err
}

// soFar writes a report of the results that there are, each time that a scenario is
// complete.
func (e *evaluation) soFar(records []record) error {
	e.writing.Lock()
	defer e.writing.Unlock()
	rs := results{plan: e.plan, records: records}
	_, err := rs.write(e.dir, e.machine, []string{"The run goes on: this is what there was after " + time.Since(e.begun).Round(time.Second).String() + "."}, "")
	return err
}

// report simulates the same and writes everything.
func (e *evaluation) report(o options) ([]finding, error) {
	e.results.plan = e.plan
	if o.virtual() {
		e.results.plan.scenarios = nil
	}
	var err error
	if e.results.simulated, err = simulateSame(e.results.plan.scenarios); err != nil {
		return nil, err
	}
	var notes []string
	for n := range e.notes {
		notes = append(notes, n)
	}
	slices.Sort(notes)
	slices.SortStableFunc(e.results.plan.scenarios, func(a, b scenario) int { return number(a) - number(b) })
	return e.results.write(e.dir, e.machine, notes, e.grid)
}

func number(s scenario) (n int) {
	_, _ = fmt.Sscanf(s.name, "E%d", &n) // 0 for other names
	return n
}
