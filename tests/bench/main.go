// Bench puts this build beside another revision's, in one run: what a decision and a
// dial cost, what the daemon takes of its host, and how large the programs are. Figures
// of two runs cannot be compared, as they follow what else the machine does; ratios of
// one run can.
//
//	go run ./tests/bench --rev v0.9.0
//	go run ./tests/bench --rev HEAD~1 --only decisions,dial --rounds 7
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	rev         string
	rounds      int
	only        []string
	dials       int
	duration    time.Duration
	established string // numbers of connections beside which host measures
	mamload     string // path of the load generator, of this revision for both builds
}

// A part is a group of figures that --only names.
type part struct {
	name    string
	measure func(context.Context, *options, *build) ([]figure, error)
	once    bool // the figures are the same in each round
}

// figure is one that was measured: of a build, or of the machine (shared).
type figure struct {
	name   string
	value  float64
	shared bool
}

func parts() []part {
	return []part{
		{name: "decisions", measure: decisions},
		{name: "dial", measure: dials},
		{name: "host", measure: host},
		{name: "size", measure: sizes, once: true},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	var o options
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.StringVar(&o.rev, "rev", "", "`revision` to put beside this one")
	fs.IntVar(&o.rounds, "rounds", 5, "how often everything is measured; medians count")
	fs.StringSliceVar(&o.only, "only", names, "`parts` to measure")
	fs.IntVar(&o.dials, "dials", 400, "dials of each kind in a round")
	fs.DurationVar(&o.duration, "duration", 2*time.Second, "time for each figure of decisions")
	fs.StringVar(&o.established, "established", "0,9000,90000", "numbers of TCP connections beside the daemon, for host")
	switch err := fs.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	case o.rev == "":
		return errors.New("say --rev REVISION")
	case o.rounds < 1 || o.dials < 1 || o.duration <= 0:
		return errors.New("--rounds, --dials and --duration must be positive")
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	_, _ = fmt.Fprintln(stderr, "building both revisions")
	before, remove, err := checkOut(ctx, o.rev, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	now, err := compile(ctx, ".", filepath.Join(dir, "now"))
	if err != nil {
		return err
	}
	o.mamload = filepath.Join(dir, "mamload")
	if err := command(ctx, ".", "go", "build", "-o", o.mamload, "./tests/mamload"); err != nil {
		return err
	}
	t := table{before: map[string][]float64{}, now: map[string][]float64{}, shared: map[string][]float64{}}
	for round := range o.rounds {
		_, _ = fmt.Fprintf(stderr, "round %d of %d\n", round+1, o.rounds)
		for _, p := range chosen {
			if p.once && round > 0 {
				continue
			}
			for _, b := range []struct {
				*build
				values map[string][]float64
			}{{before, t.before}, {now, t.now}} {
				list, err := p.measure(ctx, &o, b.build)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", p.name, b.name, err)
				}
				t.add(b.values, list)
			}
		}
	}
	return t.print(stdout, o.rev)
}

func choose(names []string) ([]part, error) {
	list := parts()
	for _, n := range names {
		if !slices.ContainsFunc(list, func(p part) bool { return p.name == n }) {
			return nil, fmt.Errorf("--only: there is no %q", n)
		}
	}
	return slices.DeleteFunc(list, func(p part) bool { return !slices.Contains(names, p.name) }), nil
}

// build is a revision's programs.
type build struct {
	name string
	dir  string // of mamma, mammactl, muacsocksd, and dial.test with its own client package
	src  string
}

// checkOut builds a revision in a work tree of its own.
func checkOut(ctx context.Context, rev, dir string) (b *build, remove func() error, err error) {
	src := filepath.Join(dir, "src")
	if err := command(ctx, ".", "git", "worktree", "add", "--quiet", "--detach", src, rev); err != nil {
		return nil, nil, err
	}
	remove = func() error {
		// Also when ctx has ended: git would remember the tree for ever.
		return command(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", src)
	}
	if b, err = compile(ctx, src, filepath.Join(dir, "before")); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return b, remove, nil
}

// compile builds what is measured: programs as they are shipped, without symbols.
func compile(ctx context.Context, src, dir string) (*build, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // an ordinary user's programs
		return nil, err
	}
	err := errors.Join(
		command(ctx, src, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "./cmd/..."),
		command(ctx, src, "go", "test", "-c", "-o", filepath.Join(dir, "dial.test"), "./tests/clientapi"),
	)
	return &build{name: filepath.Base(dir), dir: dir, src: src}, err
}

func command(ctx context.Context, dir, name string, args ...string) error {
	_, err := output(ctx, dir, name, args...)
	return err
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // programs that this one has built, go and git
	cmd.Dir = dir
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out, &errOut)
	}
	return string(out), nil
}

// table collects figures of both builds and of the machine, in the order in which they
// were first seen.
type table struct {
	names               []string
	before, now, shared map[string][]float64
}

// add adds figures to values, which are a build's.
func (t *table) add(values map[string][]float64, list []figure) {
	for _, f := range list {
		if !slices.Contains(t.names, f.name) {
			t.names = append(t.names, f.name)
		}
		to := values
		if f.shared {
			to = t.shared
		}
		to[f.name] = append(to[f.name], f.value)
	}
}

func (t *table) print(w io.Writer, rev string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(tw, "\t%s\tnow\tratio\t\n", rev)
	for _, n := range t.names {
		if all := t.shared[n]; all != nil {
			_, _ = fmt.Fprintf(tw, "%s\t\t%s\t\t\n", n, number(median(all)))
			continue
		}
		before, now := t.before[n], t.now[n]
		ratio := "-"
		if len(before) > 0 && len(now) > 0 && median(before) > 0 {
			ratio = fmt.Sprintf("%.2f", median(now)/median(before))
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t\n", n, shown(before), shown(now), ratio)
	}
	return tw.Flush()
}

// shown is the median, or a dash for what a revision cannot measure.
func shown(list []float64) string {
	if len(list) == 0 {
		return "-"
	}
	return number(median(list))
}

func number(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
