package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/placement"
)

// app is one run of the program.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	location *time.Location // time zone for times shown
	version  string
	self     string           // path by which the executable was called; "": it cannot start itself again
	now      func() time.Time // nil: time.Now
	width    int              // of lines on standard output, set in tests; 0: the terminal's

	path string // of the control socket
	json bool
	// patience is how long a daemon is waited for that does not listen yet.
	patience time.Duration
	// endless marks a command that runs until it is interrupted, so that the
	// interruption is not an error.
	endless bool
}

const longHelp = `mammactl shows what a running mamma sees and decides: the networks with their
round-trip times, load and capacity, and each decision with its reason. It also
asks what would be decided (explain), follows everything live (watch), runs
programs with their connections placed (run), fetches files over several networks
at once (get), and changes what can be changed while mamma runs (set, reload).

Figures have units. "-" stands for what mamma does not know. --json prints each
answer as the daemon sends it. Tables fit the terminal: if it is too narrow, the least
important columns are left out. A pipe gets all columns.

Sizes are given as 300M, 1.5GB or 64KiB, durations as 250ms, 5s, 1h30m or 7d. A
number without a unit is in bytes, or in seconds.

At a terminal, mammactl looks for up to a second for a mamma that has just been started.

The control socket is the one given with --control, or else in $MAMMA_CONTROL, or else
that of your own mamma if it exists: $XDG_RUNTIME_DIR/mamma/control.sock, or
/tmp/mamma-UID/control.sock without that variable; or else /run/mamma/control.sock.
At the last two, which nobody has named, mammactl trusts only a mamma that runs as
root, as you, or as the user "mamma".

` + exitCodesHelp

const examples = `  mammactl prefixes
  mammactl explain www.example.net:443 --filesize 300M
  mammactl decisions -f
  mammactl prefixes --json | jq '.prefixes[].path.srtt_median_ms'`

// runError marks the errors of a command that ran. All other errors are about how
// mammactl was called.
type runError struct{ err error }

func (e runError) Error() string { return e.err.Error() }
func (e runError) Unwrap() error { return e.err }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "mammactl", Short: "Show and control a running mamma", Long: longHelp, Example: examples,
		SilenceErrors: true, SilenceUsage: true, DisableAutoGenTag: true,
		Args: knownCommand, Version: a.version,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("mammactl {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version of mammactl and exit")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return config.SuggestFlag(err, c.Flags()) })
	root.PersistentFlags().StringVar(&a.path, "control", "", "`path` of the control socket (default: your own mamma's, else "+control.SystemPath+"; see mammactl --help)")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the daemon's answer as JSON")
	root.AddCommand(
		a.statusCommand(), a.prefixesCommand(), a.networksCommand(), a.interfacesCommand(), a.mptcpCommand(), a.policyCommand(), a.scopesCommand(),
		a.explainCommand(), a.runCommand(), a.getCommand(), a.decisionsCommand(), a.watchCommand(), a.webCommand(), a.replayCommand(),
		a.setCommand(), a.reloadCommand(), a.forgetCommand(), a.doctorCommand(), a.hostsCommand(), a.profileCommand(), a.versionCommand(), manCommand(root),
	)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	strictWords(root)
	plainSwitches(root)
	narrow(root)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return root
}

// run runs the program and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	if status, handled := placement.Dispatch(a.program(), args); handled {
		return status
	}
	// Messages that packages log for programmers may contain text from outside, and a user
	// cannot act on them. Errors that matter are also returned.
	log.SetOutput(io.Discard)
	a.out, a.err = guarded(a.out), guarded(a.err)
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var failed runError
	var absent *control.NotRunningError
	var found foundError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.As(err, &failed) && errors.Is(err, ctx.Err()):
		if a.endless {
			return exitOK
		}
		a.complain(errors.New("interrupted"))
		return exitError
	case errors.As(err, &found):
		return found.code
	case errors.As(err, &absent):
		a.complain(err)
		return exitNoDaemon
	case errors.As(err, &failed):
		a.complain(err)
		return exitError
	}
	a.complain(err)
	_, _ = fmt.Fprintf(a.err, "Try '%s --help'.\n", cmd.CommandPath())
	return exitUsage
}

// program is what placement starts further processes from.
func (a *app) program() placement.Program { return placement.Program{Name: a.self, Version: a.version} }

func (a *app) complain(err error) {
	_, _ = fmt.Fprintf(a.err, "mammactl: %s\n", cleanLines(err.Error()))
}

// command makes a command that asks the daemon.
func (a *app) command(use, short, long string, args cobra.PositionalArgs, f func(ctx context.Context, c *control.Client, args []string) error) *cobra.Command {
	if long == "" {
		long = short + "."
	}
	long = strings.TrimSpace(long) + "\n\n" + exitCodesHelp
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: args, DisableFlagsInUseLine: true,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), func(c *control.Client) error { return f(cmd.Context(), c, args) }); err != nil {
				var usage usageError
				if errors.As(err, &usage) {
					return usage
				}
				return runError{err}
			}
			return nil
		},
	}
}

// startPause is the wait before looking for a daemon again that is about to start.
const startPause = 20 * time.Millisecond

// ask has f ask the daemon. A person who has just started one need not wait until it
// listens: for the length of a.patience, an absent one is looked for again.
func (a *app) ask(ctx context.Context, f func(c *control.Client) error) error {
	for begun := time.Now(); ; {
		c := a.client()
		err := f(c)
		c.Close()
		if absent := (*control.NotRunningError)(nil); !errors.As(err, &absent) || time.Since(begun) >= a.patience {
			return err
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return err
		}
	}
}

// client returns a client for the daemon at the given path, or at the path where one
// was found.
func (a *app) client() *control.Client {
	if a.path != "" {
		return control.NewClient(a.path)
	}
	return control.Find(a.getenv)
}

// usageError is an error in a command's arguments.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// show prints an answer: unchanged with --json, else by calling f.
func (a *app) show(raw []byte, f func() error) error {
	if !a.json {
		return f()
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("read mamma's answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := a.out.Write(display.JSON(b.Bytes()))
	return err
}

// rawEvent prints an event for --json on one line, unchanged.
func (a *app) rawEvent(raw []byte) error {
	_, err := a.out.Write(append(display.JSON(raw), '\n'))
	return err
}

// say writes sentences to standard output, folded at the terminal's width. Text from
// outside must have been passed through clean.
func (a *app) say(format string, args ...any) error {
	return a.printf("%s", fold(fmt.Sprintf(format, args...), a.columns()))
}

// printf writes a line to standard output. Text from outside must have been passed
// through clean.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}
