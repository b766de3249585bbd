// Socketconnecttest connects again and again to one host through a pool, as the
// original's test of its socketconnect call does (doc/original/client-and-socks.md 15.1),
// one after the other or in several goroutines. Each connection is sent 8 bytes
// and released for reuse. The exit status is 1 if a try failed, 2 for wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"sync"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/process/service"
	"github.com/socket-intents/mamma/tests/internal/wanted"
)

const usage = `Usage: socketconnecttest [OPTION]...

Connects again and again to one host and says whether that worked. Without a
manager that answers, it connects plainly.

  socketconnecttest --threads 0 --times 3 --category bulktransfer \
    --url http://localhost:8080

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
	verbose, quiet, clear bool
	times, threads        int
	url, host, service    string

	network, address string // of these, for the pool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	return service.ExitStatus("socketconnecttest", stderr, do(ctx, args, stdout))
}

func do(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := service.NewFlags("socketconnecttest")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "print how each connection came about")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print failures only")
	fs.IntVarP(&o.times, "times", "t", 4, "how often to connect, in each thread")
	fs.IntVarP(&o.threads, "threads", "p", 4, "how many goroutines connect; 0: one after the other")
	fs.BoolVar(&o.clear, "clearsocket", false, "never use a connection again")
	fs.StringVarP(&o.url, "url", "u", "http://localhost:80", "where to connect to: scheme, host and port")
	fs.StringVarP(&o.host, "hostname", "h", "", "host to connect to, instead of --url")
	fs.StringVarP(&o.service, "service", "s", "", "service or port, with --hostname")
	o.AddTo(fs, ": 6, 17, or 262 for Multipath TCP")
	if helped, err := service.Parse(fs, args, stdout, usage, ""); helped || err != nil {
		return err
	}
	if err := o.settle(fs); err != nil {
		return service.Usage(err)
	}
	return o.connect(ctx, stdout)
}

// settle checks the options and makes of them what the pool needs.
func (o *options) settle(fs *pflag.FlagSet) error {
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if fs.Changed("hostname") != fs.Changed("service") {
		return errors.New("--hostname and --service belong together")
	}
	o.address = net.JoinHostPort(o.host, o.service)
	if !fs.Changed("hostname") {
		u, err := url.Parse(o.url)
		if err != nil {
			return err
		}
		if u.Scheme == "" || u.Hostname() == "" || u.Port() == "" {
			return fmt.Errorf("--url %s: it needs a scheme, a host and a port", o.url)
		}
		o.address = u.Host
	}
	if err := o.Settle(fs); err != nil {
		return err
	}
	suits := map[int]string{0: o.Transport, 6: "tcp", 262: "tcp", 17: "udp"}
	if suits[o.Protocol] != o.Transport {
		return fmt.Errorf("--protocol %d: not one of %s", o.Protocol, o.Transport)
	}
	if o.network = o.Transport; o.IPVersion != 0 {
		o.network += fmt.Sprint(o.IPVersion)
	}
	return nil
}

// connect makes all tries and returns the first failure.
func (o *options) connect(ctx context.Context, stdout io.Writer) error {
	d := &client.Dialer{Intents: o.Intents, Daemon: &client.Daemon{Path: o.Socket}}
	if o.Protocol == 262 {
		d.Net.SetMultipathTCP(true)
	}
	t := &tester{options: o, pool: &client.Pool{Dialer: d, MaxIdle: max(o.threads, 1)}, out: stdout}
	defer func() {
		_ = t.pool.Close()
		_ = d.Daemon.Flush(context.WithoutCancel(ctx)) // an original manager is to answer what it was asked before the program ends
		_ = d.Daemon.Close()
	}()
	if o.threads <= 0 {
		s, err := t.tries(ctx, "", nil)
		if s != nil {
			err = errors.Join(err, s.Close())
		}
		return err
	}
	first, err := t.try(ctx, "Initial try", nil)
	if err != nil {
		return err
	}
	failed := make([]error, o.threads)
	var wg sync.WaitGroup
	for i := range o.threads {
		wg.Go(func() { _, failed[i] = t.tries(ctx, fmt.Sprintf("Thread %d ", i+1), first) })
	}
	wg.Wait()
	if err := first.CloseIdle(); err != nil && !errors.Is(err, net.ErrClosed) { // the pool may have closed it to make room
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// tester makes the tries of one run.
type tester struct {
	*options
	pool *client.Pool

	mu  sync.Mutex
	out io.Writer
}

// tries connects several times, with sockets like the one before, and returns the
// last one.
func (t *tester) tries(ctx context.Context, who string, like *client.Conn) (_ *client.Conn, err error) {
	for n := range t.times {
		if like, err = t.try(ctx, fmt.Sprintf("%sTry #%d", who, n+1), like); err != nil {
			return nil, err
		}
	}
	return like, nil
}

func (t *tester) try(ctx context.Context, name string, like *client.Conn) (*client.Conn, error) {
	var s *client.Conn
	var err error
	if like == nil || t.clear {
		s, err = t.pool.GetNew(ctx, t.network, t.address)
	} else {
		s, err = t.pool.GetLike(ctx, like)
	}
	if err == nil {
		_, err = io.WriteString(s, "testblah")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		_, _ = fmt.Fprintf(t.out, "%s: FAILED - exiting\n", name)
		if s != nil {
			_ = s.Close()
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !t.quiet {
		_, _ = fmt.Fprintf(t.out, "%s: OK\n", name)
	}
	if info, ok := client.InfoOf(s); ok && t.verbose {
		_, _ = fmt.Fprintf(t.out, "    from %v to %v, used before: %v, asked: %v, reason: %s\n", info.Local, info.Remote, info.Reused, info.Decided, info.Reason)
	}
	return s, s.Release()
}
