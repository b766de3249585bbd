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
	"strings"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/intent"
)

const usage = `Usage: policytest [OPTION]...

Resolves a name and connects to it as the manager says. Without a manager that
answers, both are done plainly.

  policytest --hostname localhost --remoteport 8080 --category bulktransfer --filesize 1000000 --upload

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// options are what the flags say.
type options struct {
	address, host            string
	remote, local            uint16
	ipversion, protocol      int
	transport, category      string
	filesize                 int64
	verbose, quiet           bool
	resolveOnly, connectOnly bool
	download, upload         bool
	logfile, socket          string

	hints   bsd.Hints // of these, for the calls
	literal netip.Addr
	intents intent.Set
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	var o options
	fs := pflag.NewFlagSet("policytest", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SortFlags = false
	fs.StringVarP(&o.address, "address", "a", "", "connect to this address, resolving nothing")
	fs.StringVarP(&o.host, "hostname", "h", "localhost", "resolve this name")
	fs.Uint16VarP(&o.remote, "remoteport", "p", 80, "port to connect to")
	fs.Uint16Var(&o.local, "localport", 0, "first resolve a passive local address for this port, and bind to it (default: do not)")
	fs.IntVar(&o.ipversion, "ipversion", 0, "4 or 6 (default: either)")
	fs.IntVar(&o.protocol, "protocol", 0, "protocol number (default: that of the transport)")
	fs.StringVar(&o.transport, "transport", "TCP", "TCP or UDP")
	fs.Int64VarP(&o.filesize, "filesize", "F", 0, "file size intent in bytes (default: not stated)")
	fs.StringVarP(&o.category, "category", "C", "", "category intent: query, bulktransfer, controltraffic, keepalives or stream")
	fs.BoolVarP(&o.verbose, "verbose", "v", true, "print the context before and after every request")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "do not print contexts")
	fs.BoolVar(&o.resolveOnly, "resolve-only", false, "end after resolving")
	fs.BoolVar(&o.connectOnly, "connect-only", false, "resolve without the manager")
	fs.BoolVarP(&o.download, "download", "D", false, "receive as many bytes as --filesize says after connecting")
	fs.BoolVarP(&o.upload, "upload", "U", false, "send as many bytes as --filesize says after connecting")
	fs.StringVarP(&o.logfile, "logfile", "l", "", "file to append a line to: a UUID, ms for connecting, ms for the transfer")
	fs.StringVar(&o.socket, "socket", "", "request socket of the manager (default: where it usually is)")
	help := fs.Bool("help", false, "print this")
	err := fs.Parse(args)
	if err == nil && *help {
		_, _ = fmt.Fprint(stdout, usage+fs.FlagUsagesWrapped(80))
		return 0
	}
	if err == nil {
		err = o.settle(fs)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "policytest: %v\nTry --help.\n", err)
		return 2
	}
	r := report{out: stdout, contexts: o.verbose && !o.quiet}
	if err := o.connect(ctx, r); err != nil {
		_, _ = fmt.Fprintf(stderr, "policytest: %v\n", err)
		return 1
	}
	return 0
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
	types := map[string]int{"TCP": bsd.SockStream, "UDP": bsd.SockDgram}
	typ, ok := types[strings.ToUpper(o.transport)]
	if !ok {
		return fmt.Errorf("--transport %s: neither TCP nor UDP", o.transport)
	}
	families := map[int]int{0: bsd.AFUnspec, 4: bsd.AFInet, 6: bsd.AFInet6}
	family, ok := families[o.ipversion]
	if !ok {
		return fmt.Errorf("--ipversion %d: neither 4 nor 6", o.ipversion)
	}
	o.hints = bsd.Hints{Family: family, Type: typ, Protocol: o.protocol}
	if o.category != "" {
		if o.intents, err = intent.Parse("category=" + o.category); err != nil {
			return err
		}
	}
	if fs.Changed("filesize") {
		o.intents = o.intents.WithFileSize(o.filesize)
	}
	return nil
}
