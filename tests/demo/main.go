// The demo shows in half a minute what mamma is for. It makes networks of its own and
// loads them with traffic, and shows which way the traffic took and what that gained.
// It changes nothing in this host's own networks and sends nothing outside.
//
//	go run ./tests/demo            one page loaded four ways over emulated links
//	go run ./tests/demo --simple   one URL fetched as a query and as a bulk transfer
//	go run ./tests/demo --shell    a shell on a host with two networks, to try things
//	go run ./tests/demo --screenshot FILE   a picture of the page of mammactl web
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const usage = `Usage: go run ./tests/demo [--simple | --shell [COMMAND] | --screenshot FILE]

Shows mamma at work in networks of its own making: a slow one that answers soon
and a fast one that answers late, and a page loaded four ways.

  --simple   two networks without emulated links: the same URL is fetched as a
             query and as a bulk transfer. This is also what you see where links
             cannot be emulated; they need access to /dev/net/tun.
  --shell    a shell on a host with these two networks; start mamma, muacsocksd
             and mammactl there yourself. A COMMAND is run in its place.
  --screenshot
             a minute of traffic over such networks, and a picture (PNG) of what
             "mammactl web" shows of it; needs chromium and curl
`

func main() {
	// The client library runs in a second process, inside the client host.
	if actor, err := stage.Act(jobs()); actor {
		exit(err)
	}
	// A browser that shows a page runs outside of the namespaces that are entered next.
	listener, err := hostListener(os.Args[1:])
	if err != nil {
		exit(err)
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing if this does not help
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, os.Args[1:], listener, os.Stdout)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func jobs() map[string]stage.Job {
	list := live.Jobs()
	list["fetch"] = stage.Typed(fetch)
	return list
}

// waiting tells on standard error, if that is a terminal, what the demo waits for. It
// does so until the returned function is called.
func waiting(what func() string) (stop func()) {
	return terminal.Show(os.Stderr, os.Getenv, func(d time.Duration) string { return fmt.Sprintf("%s, %.0f s", what(), d.Seconds()) }).Stop
}

// building tells that the programs are being built.
func building() (stop func()) { return waiting(func() string { return "building the programs" }) }

func run(ctx context.Context, args []string, listener *os.File, out io.Writer) error {
	flags := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	flags.Usage = func() { _, _ = fmt.Fprint(out, usage) }
	plain := flags.Bool("simple", false, "")
	interactive := flags.Bool("shell", false, "")
	picture := flags.String("screenshot", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	dir, err := os.MkdirTemp("", "mamma-demo")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *interactive {
		command := strings.Join(flags.Args(), " ")
		err := shell(ctx, dir, command, listener, os.Stdin, out, os.Stderr)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() && command == "" {
			if _, typed := terminal.Of(os.Stdin); typed {
				return nil // the status of the last command in the shell
			}
		}
		return err
	}
	if *picture != "" {
		return screenshot(ctx, dir, *picture, listener)
	}
	stop := building()
	program, err := stage.Build(ctx, dir)
	stop()
	if err != nil {
		return err
	}
	if !*plain {
		err := page(ctx, program, dir, out)
		if !errors.Is(err, testbed.ErrUnavailable) {
			return err
		}
		if _, err := fmt.Fprintf(out, "Links cannot be emulated here (%v).\nSo here is the simple demo.\n\n", err); err != nil {
			return err
		}
	}
	return simple(ctx, program, dir, out)
}
