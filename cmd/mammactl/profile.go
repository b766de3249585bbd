package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// leastProfile is the sampling interval of a processor profile. A shorter profile would
// be empty.
const leastProfile = 10 * time.Millisecond

func (a *app) profileCommand() *cobra.Command {
	kinds := control.ProfileKinds()
	length := control.DefaultProfileTime
	var output string
	known := slices.Sorted(maps.Keys(kinds))
	c := a.command("profile KIND", "Take a profile of mamma itself", `
Takes a profile of the running mamma, for those who develop it. KIND is `+strings.Join(known, ", ")+`.
The kinds cpu, trace, mutex and block are recorded for the time given with --for; the
others show the state at the moment. "go tool trace" reads the kind trace, "go tool
pprof" all others.

mamma must have been started with --profiling. Only root and the user that mamma runs
as may take profiles. A profile holds names of mamma's functions, and no connections.`,
		func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("one kind of profile is needed: %s", strings.Join(known, ", "))
			}
			takesTime, ok := kinds[args[0]]
			switch {
			case !ok:
				return fmt.Errorf("there is no profile %q; known: %s", args[0], strings.Join(known, ", "))
			case !takesTime && c.Flags().Changed("for"):
				return fmt.Errorf("profile %s takes no time, so --for has no meaning", args[0])
			}
			return nil
		}, func(ctx context.Context, c *control.Client, args []string) error {
			if !kinds[args[0]] {
				length = 0
			}
			return a.profile(ctx, c, args[0], length, output)
		})
	c.Flags().Var(&durationFlag{to: &length, min: leastProfile, max: control.MaxProfileTime}, "for", "how `long` to watch, for instance 30s")
	c.Flags().StringVarP(&output, "output", "o", "", "`file` to write to (default standard output)")
	c.Example = "  mammactl profile cpu --for 30s -o cpu.pprof\n  go tool pprof -top cpu.pprof"
	c.ValidArgs = known
	c.ValidArgsFunction = nil // cobra would ask this function first
	_ = c.MarkFlagFilename("output")
	return c
}

// take takes a profile, and shows the remaining time.
func (a *app) take(ctx context.Context, c *control.Client, kind string, length time.Duration, to io.Writer) error {
	s := a.status(func(elapsed time.Duration) string {
		return fmt.Sprintf("profile %s: %.0f of %s", kind, min(elapsed, length).Seconds(), durationText(length))
	})
	defer s.Stop()
	return c.Profile(ctx, kind, length, to)
}

// profile writes a profile to a file, or to standard output if that is not a terminal.
// An existing file is replaced only if the profile succeeds.
func (a *app) profile(ctx context.Context, c *control.Client, kind string, length time.Duration, output string) error {
	if output == "" {
		if _, tty := terminal.Of(a.out); tty {
			return usageError{errors.New("a profile is not text for a terminal: name a file with -o, or redirect the output")}
		}
		to := a.out
		if w, ok := to.(*display.Writer); ok {
			to = w.Unwrap() // a profile is not text to be cleaned
		}
		return a.take(ctx, c, kind, length, to)
	}
	var b strings.Builder
	if err := a.take(ctx, c, kind, length, &b); err != nil {
		return err
	}
	f, err := openOutput(ctx, output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("write the profile: %w", cmp.Or(ctx.Err(), err))
	}
	_, err = io.WriteString(f, b.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	return nil
}
