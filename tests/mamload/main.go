// Mamload measures how fast a Multi Access Manager decides. It sends connect requests
// over real Unix sockets, one at a time per client, with several numbers of clients. It
// prints decisions per second and percentiles of the latency. If mamload has started
// the daemon, which it does in a namespace of its own, it also prints the time until
// the first answer, the daemon's memory, and the processor time that the daemon takes
// while nobody asks.
//
//	mamload --mamma build/mamma                          # starts that daemon itself
//	mamload --mamma build/mamma --established 1000,5000  # beside TCP connections
//	mamload --mamma build/mamma --routes 1000000 --changes 10  # beside routes that change
//	mamload --mamma build/mamma --prefixes 300 --connected 5000  # many networks, and clients that do not ask
//	mamload --socket /run/mamma/mamma.sock               # measures a running one
//	mamload --bare                                       # two processes, and no decision
//
// It speaks only the protocol of the Socket Intents prototype, so it can measure that
// daemon as well.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
)

func main() {
	_ = testbed.Enter() // testbed.New says what is missing
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "mamload: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	socket, mamma, config string
	bareOnly              bool
	clients, established  []int
	routes, changes       []int
	timeWait              int
	prefixes, connected   int
	settle, duration      time.Duration
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	fs := pflag.NewFlagSet("mamload", pflag.ContinueOnError)
	fs.Usage = func() { _, _ = fmt.Fprint(os.Stderr, "Usage of mamload:\n"+fs.FlagUsagesWrapped(80)) }
	fs.StringVar(&o.socket, "socket", "", "request socket of a running daemon")
	fs.StringVar(&o.mamma, "mamma", "", "daemon to start and measure")
	fs.StringVar(&o.config, "config", "", "configuration file for it; none: automatic")
	fs.BoolVar(&o.bareOnly, "bare", false, "measure a process that answers at once, in place of a daemon")
	answer := fs.String("answer", "", "be that process, on this `socket`")
	held := fs.Int("hold", 0, "only open so many connections to the listener on descriptor 3, and hold them")
	fs.IntSliceVar(&o.clients, "clients", []int{1, 8, 64}, "numbers of clients")
	fs.IntSliceVar(&o.established, "established", []int{0}, "numbers of TCP connections on the host")
	fs.IntVar(&o.timeWait, "time-wait", 0, "TCP connections in TIME_WAIT, besides")
	fs.IntSliceVar(&o.routes, "routes", []int{0}, "numbers of routes of the host, beside its own few")
	fs.IntSliceVar(&o.changes, "changes", []int{0}, "numbers of routes that change in a second")
	fs.IntVar(&o.prefixes, "prefixes", 0, "prefixes of the host, beside its own few; they are managed unless --config says otherwise")
	fs.IntVar(&o.connected, "connected", 0, "clients that are connected and do not ask, besides")
	fs.DurationVar(&o.settle, "settle", 0, "time to let the daemon come to rest before its idle share is measured")
	fs.DurationVar(&o.duration, "duration", 2*time.Second, "time per figure")
	switch err := fs.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	case *answer != "":
		return serveBare(*answer)
	case *held > 0:
		return hold(ctx, *held, os.Stdin, stdout)
	case o.mamma == "" && o.socket == "" && !o.bareOnly:
		return errors.New("say --mamma PROGRAM, --socket PATH or --bare")
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "established\ttime-wait\troutes\tchanges/s\tstart ms\tMB\tpeak MB\tidle cpu %\tclients\tdecisions/s\tp50 us\tp99 us\tp99.9 us\tmax us\tMB after\t")
	if o.bareOnly {
		if err := o.bare(ctx, w, stderr); err != nil {
			return err
		}
		return w.Flush()
	}
	for _, n := range o.established {
		for _, routes := range o.routes {
			if err := o.round(ctx, n, routes, w, stderr); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// round measures with a number of established connections and of routes.
func (o *options) round(ctx context.Context, established, routes int, w, stderr io.Writer) error {
	if o.mamma == "" {
		return o.ask(ctx, o.socket, 0, fmt.Sprintf("%d\t%d\t-\t-\t-\t-\t-\t-", established, o.timeWait), w)
	}
	bed, err := testbed.New(testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	if err != nil {
		return err
	}
	defer bed.Close()
	dir, err := os.MkdirTemp("", "mamload")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	table, err := fill(ctx, bed, routes)
	if err != nil {
		return err
	}
	config, err := o.address(bed, dir)
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "mamma.sock")
	begin := time.Now()
	pid, stop, err := o.start(ctx, bed.Client, socket, config, stderr)
	if err != nil {
		return err
	}
	defer stop()
	started := time.Since(begin)
	b, err := establish(ctx, bed, established, o.timeWait)
	if err != nil {
		return err
	}
	defer b.close()
	silent, err := connect(ctx, socket, o.connected)
	defer closeAll(silent)
	if err != nil {
		return err
	}
	for _, n := range o.changes {
		if n > 0 && routes == 0 {
			continue // there is nothing to change
		}
		before := fmt.Sprintf("%d\t%d\t%d\t%d\t%d", established, o.timeWait, routes, n, started.Milliseconds())
		if err := o.beside(ctx, table, n, pid, socket, before, w); err != nil {
			return err
		}
	}
	return stillOpen(silent)
}

// beside measures while that many routes change per second. The line that it prints
// begins with before.
func (o *options) beside(ctx context.Context, t *table, changes, pid int, socket, before string, w io.Writer) (err error) {
	begin := time.Now()
	stop := t.change(changes)
	defer func() {
		n, e := stop()
		if want := int(float64(changes) * time.Since(begin).Seconds()); e == nil && n < want*9/10 {
			e = fmt.Errorf("%d routes have changed in place of %d: the kernel or this program is too slow", n, want)
		}
		err = errors.Join(err, e)
	}()
	if err := rest(ctx, o.settle); err != nil {
		return err
	}
	cpu, err := idleCPU(ctx, pid, o.duration)
	if err != nil {
		return err
	}
	now, peak, err := resident(pid)
	if err != nil {
		return err
	}
	return o.ask(ctx, socket, pid, fmt.Sprintf("%s\t%.0f\t%.0f\t%s", before, now, peak, cpu), w)
}

// ask measures with each number of clients. Each line that it prints begins with before,
// and ends with the memory of process pid, unless pid is 0.
func (o *options) ask(ctx context.Context, socket string, pid int, before string, w io.Writer) error {
	for _, n := range o.clients {
		r, err := measure(ctx, socket, n, o.duration)
		if err != nil {
			return err
		}
		after := "-"
		if pid != 0 {
			now, _, err := resident(pid)
			if err != nil {
				return err
			}
			after = fmt.Sprintf("%.0f", now)
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%s\t\n",
			before, n, r.rate, r.at(0.5), r.at(0.99), r.at(0.999), r.at(1), after)
	}
	return nil
}

// idleCPU returns the share of a processor that a daemon takes while nobody asks, in
// percent.
func idleCPU(ctx context.Context, pid int, d time.Duration) (string, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return "", err
	}
	before, err := p.Stat()
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := rest(ctx, d); err != nil {
		return "", err
	}
	after, err := p.Stat()
	return fmt.Sprintf("%.2f", 100*(after.CPUTime()-before.CPUTime())/time.Since(begin).Seconds()), err
}

// rest waits, which an idle daemon's share of a processor takes.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start starts the daemon in a namespace and waits until it answers.
func (o *options) start(ctx context.Context, in *testbed.Namespace, socket, config string, stderr io.Writer) (pid int, stop func(), err error) {
	args := []string{"--socket", socket, "--log-level", "warn"}
	if config != "" {
		args = append(args, config)
	}
	cmd := exec.CommandContext(ctx, o.mamma, args...)
	cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+filepath.Dir(socket)) // so that it does not use what this host has learnt
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := in.Start(cmd); err != nil {
		return 0, nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-exited
	}
	if err := o.answers(ctx, socket, exited); err != nil {
		_ = cmd.Process.Kill()
		return 0, nil, fmt.Errorf("%s %w", o.mamma, err)
	}
	return cmd.Process.Pid, stop, nil
}

// answers waits until a process answers or has ended.
func (o *options) answers(ctx context.Context, socket string, exited <-chan struct{}) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		if r, err := measure(ctx, socket, 1, 0); err == nil && len(r.took) > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("ended before it served %s", socket)
		case <-deadline:
			return fmt.Errorf("does not serve %s", socket)
		}
	}
}

// result is what one measurement has given.
type result struct {
	rate float64         // decisions per second
	took []time.Duration // sorted
}

// at returns a quantile in microseconds.
func (r result) at(q float64) float64 {
	if len(r.took) == 0 {
		return 0
	}
	i := min(int(q*float64(len(r.took))), len(r.took)-1)
	return float64(r.took[i].Nanoseconds()) / 1000
}

// measure asks over n connections at once, with one request at a time on each.
func measure(ctx context.Context, socket string, n int, d time.Duration) (result, error) {
	req, err := request()
	if err != nil {
		return result{}, err
	}
	all := make([][]time.Duration, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range n {
		wg.Go(func() { all[i], errs[i] = client(ctx, socket, req, begin.Add(d)) })
	}
	wg.Wait()
	elapsed := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	r := result{took: slices.Concat(all...)}
	slices.Sort(r.took)
	r.rate = float64(len(r.took)) / elapsed.Seconds()
	return r, nil
}

// request returns a connect request as an original client sends it.
func request() ([]byte, error) {
	m := wire.Message{Action: wire.ActionConnectRequest, Context: wire.Context{
		FD: 3, Inode: 1, Calls: wire.CallSocket | wire.CallConnect, Domain: wire.AFInet, Type: wire.SockStream,
		Remote: wire.SockAddr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 80)}, // nothing is sent to this address
	}}
	return m.Append(nil)
}

func client(ctx context.Context, socket string, req []byte, until time.Time) ([]time.Duration, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	r := wire.NewReader(c)
	var m wire.Message
	var took []time.Duration
	for {
		sent := time.Now()
		if len(took) > 0 && sent.After(until) {
			return took, nil
		}
		if _, err := c.Write(req); err != nil {
			return nil, err
		}
		if err := r.Read(&m); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if m.Action != wire.ActionConnectResponse {
			return nil, fmt.Errorf("the daemon answered %v", m.Action)
		}
		took = append(took, time.Since(sent))
	}
}
