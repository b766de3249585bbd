package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	endpoints "github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// fetchCommand makes this program the client.
const fetchCommand = "fetch"

// idle is QUIC's idle time-out in all ways.
const idle = 10 * time.Second

// Limits of --quick. They are wide, because the machine may be busy; what is aimed at is
// in README.md.
const (
	quickSilence = 2 * time.Second
	quickTries   = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 2 && os.Args[1] == fetchCommand {
		if err := fetch(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_ = testbed.Enter() // New says what is missing
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, testbed.ErrUnavailable) && os.Getenv(required.Env) == "":
		fmt.Printf("SKIPPED: E11: %v\n", err) // as internal/testing/tally reads it
	case err != nil:
		fmt.Fprintf(os.Stderr, "evaluate: %v\n", err)
		os.Exit(1)
	}
}

// scene is one case that is measured.
type scene struct {
	name    string
	event   event
	objects int
	size    int64
}

func scenes(quick bool) []scene {
	const file, page = 15_000_000, 60_000
	if quick {
		return []scene{{"download", linkDown, 1, 5_000_000}, {"download", silence, 1, 5_000_000}}
	}
	return []scene{
		{"download", nothing, 1, file}, {"download", linkDown, 1, file}, {"download", silence, 1, file}, {"download", outage, 1, file},
		{"page", linkDown, 40, page}, {"page", silence, 40, page},
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("evaluate", flag.ContinueOnError)
	repeat := fs.Int("repeat", 10, "how often each case is measured")
	quick := fs.Bool("quick", false, "measure little, and fail if a limit is exceeded")
	mamma := fs.String("mamma", "", "the daemon's program (default: it is built)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || *repeat < 1 {
		return errors.New("flags only, and --repeat at least 1; see --help")
	}
	if *mamma == "" {
		dir, err := os.MkdirTemp("", "e11")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if *mamma, err = build(ctx, dir); err != nil {
			return err
		}
	}
	if *quick {
		return judge(ctx, *mamma, out)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "load\tthe network\tway\tcomplete\tlongest silence, median (least to most)\tseconds, median")
	for _, sc := range scenes(false) {
		results := map[way][]*outcome{}
		for range *repeat {
			for _, w := range ways {
				o, err := measure(ctx, *mamma, sc, w)
				if errors.Is(err, endpoints.ErrUnsupported) {
					continue // that way has no row then
				}
				if err != nil {
					return fmt.Errorf("%s, %s, %s: %w", sc.name, sc.event, w, err)
				}
				results[w] = append(results[w], o)
			}
		}
		for _, w := range ways {
			if len(results[w]) == 0 {
				continue
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", sc.name, sc.event, w, summary(results[w]))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// build builds the daemon.
func build(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/socket-intents/mamma").Output()
	if err != nil {
		return "", fmt.Errorf("where the daemon's sources are: %w", err)
	}
	program := filepath.Join(dir, "mamma")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/mamma")
	cmd.Dir = strings.TrimSpace(string(root))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, text)
	}
	return program, nil
}

// measure does one errand in a world of its own.
func measure(ctx context.Context, mamma string, sc scene, by way) (*outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := newWorld(mamma, by, int64(sc.objects)*sc.size/3)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return w.run(errand{Way: by, Objects: sc.objects, Size: sc.size}, sc.event)
}

// summary is a row of the table: how many were complete, and of these the longest silence
// and the time.
func summary(list []*outcome) string {
	var silences, took []time.Duration
	wrong := ""
	for _, o := range list {
		if o.Wrong {
			wrong = ", WRONG BYTES"
		}
		if o.Broken == "" {
			silences, took = append(silences, o.Silence), append(took, o.Took)
		}
	}
	if len(silences) == 0 {
		return fmt.Sprintf("0 of %d%s\t\t", len(list), wrong)
	}
	slices.Sort(silences)
	slices.Sort(took)
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	return fmt.Sprintf("%d of %d%s\t%s (%s to %s)\t%.2f", len(silences), len(list), wrong,
		ms(median(silences)), ms(silences[0]), ms(silences[len(silences)-1]), median(took).Seconds())
}

// median is that of a sorted list, which must not be empty.
func median(sorted []time.Duration) time.Duration {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// judge measures a little and fails if a connection by intent does not survive, or is
// silent for too long three times.
func judge(ctx context.Context, mamma string, out io.Writer) error {
	for _, sc := range scenes(true) {
		for try := 1; ; try++ {
			o, err := measure(ctx, mamma, sc, byIntent)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", sc.name, sc.event, err)
			}
			_, _ = fmt.Fprintf(out, "%s, %s: %d bytes in %.2f s, silent for %v; %s\n",
				sc.name, sc.event, o.Bytes, o.Took.Seconds(), o.Silence.Round(time.Millisecond), strings.Join(o.Moves, "; "))
			if o.Broken != "" || o.Wrong {
				return fmt.Errorf("%s, %s: %s", sc.name, sc.event, o.Broken)
			}
			if o.Silence <= quickSilence {
				break
			}
			if try == quickTries {
				return fmt.Errorf("%s, %s: silent for %v, which is more than %v, %d times", sc.name, sc.event, o.Silence, quickSilence, quickTries)
			}
		}
	}
	return nil
}
