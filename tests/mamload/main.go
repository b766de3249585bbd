// Mamload measures how fast a Multi Access Manager decides: connect requests
// over real Unix sockets, one at a time per client, over several numbers of
// clients. It prints decisions per second and latency percentiles.
//
//	mamload --mamma build/mamma                 # starts that daemon itself
//	mamload --socket /run/mamma/mamma.sock      # measures a running one
//
// It speaks the original protocol only, so it can measure the original daemon as well.
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

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "mamload: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := pflag.NewFlagSet("mamload", pflag.ContinueOnError)
	socket := fs.String("socket", "", "request socket of a running daemon")
	mamma := fs.String("mamma", "", "daemon to start and measure")
	config := fs.String("config", "", "configuration file for it; none: automatic")
	clients := fs.IntSlice("clients", []int{1, 8, 64}, "numbers of clients")
	duration := fs.Duration("duration", 2*time.Second, "time per number of clients")
	switch err := fs.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	if *mamma != "" {
		dir, err := os.MkdirTemp("", "mamload")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		*socket = filepath.Join(dir, "mamma.sock")
		stop, err := start(ctx, *mamma, *socket, *config, stderr)
		if err != nil {
			return err
		}
		defer stop()
	}
	if *socket == "" {
		return errors.New("say --mamma PROGRAM or --socket PATH")
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "clients\tdecisions/s\tp50 us\tp99 us\tp99.9 us\tmax us\t")
	for _, n := range *clients {
		r, err := measure(ctx, *socket, n, *duration)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", n, r.rate, r.at(0.5), r.at(0.99), r.at(0.999), r.at(1))
	}
	return w.Flush()
}

// start starts a daemon and waits until its socket is there.
func start(ctx context.Context, program, socket, config string, stderr io.Writer) (stop func(), err error) {
	args := []string{"--socket", socket, "--log-level", "warn"}
	if config != "" {
		args = append(args, config)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			return func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				<-exited
			}, nil
		}
		select {
		case <-tick.C:
		case <-exited:
			return nil, fmt.Errorf("%s ended before it served %s", program, socket)
		case <-deadline:
			_ = cmd.Process.Kill()
			return nil, fmt.Errorf("%s does not serve %s", program, socket)
		}
	}
}

// result is what one round measured.
type result struct {
	rate float64         // decisions per second
	took []time.Duration // sorted
}

// at gives a quantile in microseconds.
func (r result) at(q float64) float64 {
	if len(r.took) == 0 {
		return 0
	}
	i := min(int(q*float64(len(r.took))), len(r.took)-1)
	return float64(r.took[i].Nanoseconds()) / 1000
}

// measure asks over n connections at once, each one request at a time.
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

// request is a connect request as an original client sends it.
func request() ([]byte, error) {
	m := wire.Message{Action: wire.ActionConnectRequest, Context: wire.Context{
		FD: 3, Inode: 1, Calls: wire.CallSocket | wire.CallConnect, Domain: wire.AFInet, Type: wire.SockStream,
		// Documentation address (RFC 5737): nothing is ever sent there.
		Remote: wire.SockAddr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 80)},
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
		if sent.After(until) {
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
