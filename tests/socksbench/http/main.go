// Http measures muacsocksd as a proxy for plain HTTP with small answers. It compares
// muacsocksd with tinyproxy and squid, if these are installed, with the least relay, and
// with no proxy, all in one run. ApacheBench (ab) measures the rates, and a client of its
// own the time to the first byte. The flag --also adds another build of muacsocksd.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
)

// proxy is a program that is measured. Without a command there is no proxy in between.
type proxy struct {
	name    string
	command func(dir, port string) ([]string, error)
	addr    string
	pid     int // 0: no process
	// forgets tells that the program ends each thread with its connection. The kernel's
	// count of its context switches is then lost.
	forgets bool
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	binary := pflag.String("muacsocksd", "build/muacsocksd", "`path` of the program")
	rounds := pflag.Int("rounds", 5, "how often everything is measured; the medians count")
	requests := pflag.Int("requests", 4000, "how many in one measurement")
	also := pflag.StringArray("also", nil, "`name=path` of another build of muacsocksd")
	relay := pflag.StringSlice("relay", nil, "only carry connections `from,to` addresses")
	pflag.Parse()
	if len(*relay) == 2 {
		return leastRelay(ctx, (*relay)[0], (*relay)[1])
	}
	ab, err := exec.LookPath("ab")
	if err != nil {
		return errors.New("needs ab (Debian: apache2-utils)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a small answer\n") })
	mux.HandleFunc("/slowly", slowly)
	origin := &http.Server{ReadHeaderTimeout: time.Minute, Handler: mux}
	go func() { _ = origin.Serve(l) }() // ends with Close
	defer func() { _ = origin.Close() }()

	dir, err := os.MkdirTemp("", "httpbench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var list []*proxy
	for _, p := range proxies(*binary, *also, l.Addr().String()) {
		stop, err := p.start(ctx, dir)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Printf("%s is not installed: left out\n", p.name)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		defer stop()
		list = append(list, p)
	}
	ways := [][]string{{"-c", "1"}, {"-c", "16"}, {"-k", "-c", "1"}, {"-k", "-c", "16"}}
	results := map[string]*result{}
	for range *rounds {
		for _, way := range ways {
			for _, p := range list {
				args := append([]string{"-q", "-n", strconv.Itoa(*requests)}, way...)
				if p.addr != "" {
					args = append(args, "-X", p.addr)
				}
				before := usageOf(p.pid)
				rate, err := measure(ctx, ab, append(args, "http://"+l.Addr().String()+"/"))
				if err != nil {
					return fmt.Errorf("%s, %v: %w", p.name, way, err)
				}
				key := p.name + strings.Join(way, " ")
				r := results[key]
				if r == nil {
					r = &result{}
					results[key] = r
				}
				r.add(rate, *requests, usageOf(p.pid).since(before))
			}
		}
	}
	if err := report(list, ways, results); err != nil {
		return err
	}
	return firstBytes(ctx, list, "http://"+l.Addr().String()+"/slowly", 40**rounds)
}

// proxies lists what can be measured in front of the origin server, ours first. also are
// names and paths of other builds of ours.
func proxies(binary string, also []string, origin string) []*proxy {
	ours := func(name, binary string) *proxy {
		return &proxy{name: name, command: func(_, port string) ([]string, error) {
			return []string{binary, "--listen", "127.0.0.1:" + port, "--log-level", "error"}, nil
		}}
	}
	list := []*proxy{ours("muacsocksd", binary)}
	for _, a := range also {
		name, path, _ := strings.Cut(a, "=")
		list = append(list, ours(name, path))
	}
	return append(list, []*proxy{
		{name: "tinyproxy", forgets: true, command: func(dir, port string) ([]string, error) {
			conf := filepath.Join(dir, "tinyproxy.conf")
			return []string{"tinyproxy", "-d", "-c", conf}, os.WriteFile(conf,
				[]byte("Port "+port+"\nListen 127.0.0.1\nTimeout 60\nMaxClients 200\nStartServers 20\nLogLevel Critical\nAllow 127.0.0.1\n"), 0o600)
		}},
		{name: "squid", command: func(dir, port string) ([]string, error) {
			conf := filepath.Join(dir, "squid.conf")
			return []string{"squid", "-N", "-f", conf}, os.WriteFile(conf,
				[]byte("http_port 127.0.0.1:"+port+"\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\n"), 0o600)
		}},
		{name: leastName, command: func(_, port string) ([]string, error) {
			self, err := os.Executable()
			return []string{self, "--relay", "127.0.0.1:" + port + "," + origin}, err
		}},
		{name: "none"},
	}...)
}

// start starts the program and waits until it accepts connections.
func (p *proxy) start(ctx context.Context, dir string) (stop func(), err error) {
	if p.command == nil {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.addr = l.Addr().String()
	_ = l.Close()
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		return nil, err
	}
	args, err := p.command(dir, port)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + args[0]); err != nil {
			return nil, exec.ErrNotFound
		}
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...) //nolint:gosec // the program to measure
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
	}
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", p.addr); err == nil {
			return stop, c.Close()
		}
	}
	stop()
	return nil, errors.New("does not accept connections")
}

var (
	rateLine   = regexp.MustCompile(`Requests per second:\s+([\d.]+)`)
	failedLine = regexp.MustCompile(`(?:Failed requests|Non-2xx responses):\s+([1-9]\d*)`)
)

// measure runs ab and returns the requests per second.
func measure(ctx context.Context, ab string, args []string) (float64, error) {
	out, err := exec.CommandContext(ctx, ab, args...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	m := rateLine.FindSubmatch(out)
	if m == nil || failedLine.Match(out) {
		return 0, fmt.Errorf("requests failed:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// result is what was measured of a program in one way: its rate in each round, and the
// sums of requests and usage over all rounds.
type result struct {
	rates    []float64 // requests a second
	requests int
	usage    usage
}

func (r *result) add(rate float64, requests int, u usage) {
	r.rates = append(r.rates, rate)
	r.requests += requests
	r.usage.processor += u.processor
	r.usage.switches += u.switches
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// report prints medians. The rates of one round are compared with each other, because a
// busy host slows all of them.
func report(list []*proxy, ways [][]string, results map[string]*result) error {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "AB\tPROXY\tREQUESTS/s\tRATIO\tCPU us\tSWITCHES")
	for _, way := range ways {
		options := strings.Join(way, " ")
		ours := results[list[0].name+options]
		for _, p := range list {
			r := results[p.name+options]
			ratios := make([]float64, len(r.rates))
			for i := range ratios {
				ratios[i] = ours.rates[i] / r.rates[i]
			}
			processor, switches := "-", "-"
			if p.pid != 0 {
				processor = fmt.Sprintf("%.0f", float64(r.usage.processor.Microseconds())/float64(r.requests))
			}
			if p.pid != 0 && !p.forgets {
				switches = fmt.Sprintf("%.1f", float64(r.usage.switches)/float64(r.requests))
			}
			_, _ = fmt.Fprintf(tw, "%s\t%s\t%.0f\t%.2f\t%s\t%s\n", options, p.name, median(r.rates), median(ratios), processor, switches)
		}
	}
	_, _ = fmt.Fprintln(tw, "RATIO is the median, over the rounds, of "+list[0].name+"'s rate divided by the line's. CPU and SWITCHES are processor time and\ncontext switches of the proxy for each request.")
	return tw.Flush()
}
