// Command mammactl shows what a running mamma sees and decides, and changes
// what can be changed while it runs. See "mammactl help".
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/process/service"
)

// version is set by the build.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitOK        = 0
	exitError     = 1
	exitUsage     = 2
	exitNoDaemon  = 3
	exitCodesHelp = "Exit status: 0 done, 1 an error, 2 wrong usage, 3 no mamma answers."
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr, getenv: os.Getenv, location: time.Local, version: service.Version(version), self: os.Args[0]}
	if _, person := terminal.Of(stderr); person {
		a.patience = time.Second
	}
	return a.run(ctx, args)
}

// guarded cleans all output of the program for a terminal. If w is a terminal,
// mammactl's own control sequences may pass.
func guarded(w io.Writer) io.Writer {
	if _, tty := terminal.Of(w); tty {
		return display.NewWriter(w, sequences...)
	}
	return display.NewWriter(w)
}
