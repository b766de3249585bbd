//go:build unix

// Policytest takes one connection through the classic calls and prints what the
// manager said at each step, as the original's program of that name does
// (doc/original/client-and-socks.md 15.2). The exit status is 0 if it connected, or
// resolved with --resolve-only, 1 if not, 2 for wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/internal/process/service"
	"github.com/socket-intents/mamma/tests/internal/wanted"
)

const usage = `Usage: policytest [OPTION]...

Resolves a name and connects to it as the manager says. Without a manager that
answers, both are done plainly.

  policytest --hostname localhost --remoteport 8080 --category bulktransfer \
    --filesize 1000000 --upload

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// options are what the flags say.
type options struct {
	wanted.Connection
	address, host            string
	remote, local            uint16
	verbose, quiet           bool
	resolveOnly, connectOnly bool
	download, upload         bool
	logfile                  string

	hints   bsd.Hints // of these, for the calls
	literal netip.Addr
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	return service.ExitStatus("policytest", stderr, do(ctx, args, stdout))
}

func do(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := service.NewFlags("policytest")
	fs.StringVarP(&o.address, "address", "a", "", "connect to this address, resolving nothing")
	fs.StringVarP(&o.host, "hostname", "h", "localhost", "resolve this name")
	fs.Uint16VarP(&o.remote, "remoteport", "p", 80, "port to connect to")
	fs.Uint16Var(&o.local, "localport", 0, "first resolve a passive local address for this port, and bind to it (default: do not)")
	o.AddTo(fs, "")
	fs.BoolVarP(&o.verbose, "verbose", "v", true, "print the context before and after every request")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "do not print contexts")
	fs.BoolVar(&o.resolveOnly, "resolve-only", false, "end after resolving")
	fs.BoolVar(&o.connectOnly, "connect-only", false, "resolve without the manager")
	fs.BoolVarP(&o.download, "download", "D", false, "receive as many bytes as --filesize says after connecting")
	fs.BoolVarP(&o.upload, "upload", "U", false, "send as many bytes as --filesize says after connecting")
	fs.StringVarP(&o.logfile, "logfile", "l", "", "file to append a line to: a UUID, ms for connecting, ms for the transfer")
	if helped, err := service.Parse(fs, args, stdout, usage, ""); helped || err != nil {
		return err
	}
	if err := o.settle(fs); err != nil {
		return service.Usage(err)
	}
	return o.connect(ctx, report{out: stdout, contexts: o.verbose && !o.quiet})
}

// settle checks the options and makes of them what the calls need.
func (o *options) settle(fs *pflag.FlagSet) (err error) {
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.resolveOnly && o.connectOnly {
		return errors.New("--resolve-only and --connect-only exclude each other")
	}
	if o.address != "" {
		if o.literal, err = netip.ParseAddr(o.address); err != nil {
			return fmt.Errorf("--address: %w", err)
		}
	}
	if err := o.Settle(fs); err != nil {
		return err
	}
	types := map[string]int{"tcp": bsd.SockStream, "udp": bsd.SockDgram}
	families := map[int]int{0: bsd.AFUnspec, 4: bsd.AFInet, 6: bsd.AFInet6}
	o.hints = bsd.Hints{Family: families[o.IPVersion], Type: types[o.Transport], Protocol: o.Protocol}
	return nil
}
