package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/daemon"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/hostbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// outcome is what a host did, by the verb of the lines that say what it should do.
type outcome struct {
	Unavailable string // what the kernel lacks; then nothing else is set
	Managed     []string
	Connect     []string
	Unbound     []string
	Kernel      []string
	Doctor      []string
}

// act is the task of a child of this test: it loads the host, runs the daemon there,
// and records what happens.
func act(path string) (out outcome, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return out, err
	}
	h, err := hostfile.Parse(text, filepath.Base(path))
	if err != nil {
		return out, err
	}
	w, err := hostbed.Load(h)
	if errors.Is(err, testbed.ErrUnavailable) {
		return outcome{Unavailable: err.Error()}, nil
	}
	if err != nil {
		return out, err
	}
	defer w.Close()
	dir, err := os.MkdirTemp("", "mamma-host")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := &run{host: h, world: w, dir: dir, conf: filepath.Join(dir, "mamma.conf")}
	if err := r.start(ctx); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.settle(ctx); err != nil {
		return out, err
	}
	if out.Managed, err = r.managed(ctx); err != nil {
		return out, err
	}
	for i := range h.Want {
		s := &h.Want[i]
		switch s.Verb {
		case "connect":
			out.Connect = append(out.Connect, r.connect(ctx, s, i))
		case "unbound":
			out.Unbound = append(out.Unbound, r.unbound(ctx, s, i))
		case "kernel":
			out.Kernel = append(out.Kernel, kernel(s))
		}
	}
	out.Doctor, err = r.doctor(ctx)
	return out, err
}

// run is a daemon on a host.
type run struct {
	host      *hostfile.Host
	world     *hostbed.World
	dir, conf string
	chooser   chooser
	cancel    context.CancelFunc
	ended     chan error
}

func (r *run) path(name string) string { return filepath.Join(r.dir, name) }

// start runs the daemon in this process.
func (r *run) start(ctx context.Context) error {
	lines := r.host.Config
	if len(lines) == 0 {
		lines = []string{"auto = true"}
	}
	lines = append([]string{fmt.Sprintf("state_dir = %q", r.dir), `policy "chosen" {}`}, lines...)
	if err := os.WriteFile(r.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	known := append(policies.All(), policy.Entry{Name: "chosen", New: func(policy.Config) (policy.Policy, error) { return &r.chooser, nil }})
	ready := make(chan struct{})
	level := slog.LevelError
	if os.Getenv("MAMMA_HOST_LOG") != "" {
		level = slog.LevelDebug
	}
	d, err := daemon.New(ctx, daemon.Options{
		ConfigPath: r.conf, Policies: known, Socket: r.path("s"), Control: r.path("c"), LinkKind: r.world.Kind,
		Stdout: io.Discard, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), OnReady: func() { close(ready) },
	})
	if err != nil {
		return err
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.ended = make(chan error, 1)
	go func() { r.ended <- d.Run(ctx) }()
	select {
	case <-ready:
		return nil
	case err := <-r.ended:
		r.ended <- err
		return fmt.Errorf("the daemon ended: %w", err)
	}
}

// settle returns when the daemon has seen its own rules take effect, or after enough
// time for that. Some networks still need their device then.
func (r *run) settle(ctx context.Context) error {
	if !slices.Contains(r.host.Config, `routing = "manage"`) {
		return nil
	}
	c := control.NewClient(r.path("c"))
	defer c.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for enough := time.Now().Add(time.Second); time.Now().Before(enough); <-tick.C {
		var p control.Prefixes
		if _, err := c.Get(ctx, "/v1/prefixes", &p); err != nil {
			return err
		}
		if !slices.ContainsFunc(p.Prefixes, func(x control.Prefix) bool { return x.Device != nil || x.Health.State != "up" }) {
			return nil
		}
	}
	return nil
}

func (r *run) stop() error {
	r.cancel()
	return <-r.ended
}

// managed asks the daemon for its networks.
func (r *run) managed(ctx context.Context) ([]string, error) {
	c := control.NewClient(r.path("c"))
	defer c.Close()
	var p control.Prefixes
	if _, err := c.Get(ctx, "/v1/prefixes", &p); err != nil {
		return nil, err
	}
	var list []string
	for _, x := range p.Prefixes {
		line := x.Interface + " " + x.Prefix
		if x.Default {
			line += " default"
		}
		list = append(list, line)
	}
	return list, nil
}

// chooser is the policy of these tests. It chooses the network of the given device.
// Without one it chooses the default network, with all others as alternates, as most
// policies do.
type chooser struct {
	mu     sync.Mutex
	device string
}

func (c *chooser) Choose(r *policy.Request) policy.Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := r.DefaultPrefix()
	for _, p := range r.Prefixes {
		if c.device != "" && p.Interface == c.device {
			first = p
			break
		}
	}
	if first == nil {
		return policy.Decision{Reason: "no default"}
	}
	d := policy.Decision{Prefix: first, Reason: "as the test says"}
	for _, p := range r.Prefixes {
		if p != first {
			d.Alternates = append(d.Alternates, p)
		}
	}
	return d
}

// connect dials as a program that asks the daemon does. It returns where the first
// packet went.
func (r *run) connect(ctx context.Context, s *hostfile.Statement, number int) string {
	r.chooser.mu.Lock()
	r.chooser.device = s.Value("by")
	r.chooser.mu.Unlock()
	// On a busy machine it may take long to ask, and for a neighbour to answer before
	// another network's turn comes.
	d := client.Dialer{Daemon: &client.Daemon{Path: r.path("s"), DecisionTimeout: 10 * time.Second}, ConnectionAttemptDelay: 2 * time.Second}
	defer func() { _ = d.Daemon.Close() }()
	dst, network := destination(s, number)
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	dec, err := d.Decide(ctx, network, dst.String())
	if err == nil {
		err = dec.Err()
	}
	if err != nil {
		return "the daemon was not asked: " + err.Error()
	}
	conn, err := dec.Dial(ctx)
	return r.came(s, dst, conn, err)
}

// destination returns the destination of the statement with this number. Each statement
// has its own port.
func destination(s *hostfile.Statement, number int) (dst netip.AddrPort, network string) {
	const firstPort = 20000
	dst = netip.AddrPortFrom(netip.MustParseAddr(s.Args[0].Value), uint16(firstPort+number)) //nolint:gosec // few lines
	if s.Has("udp") {
		return dst, "udp"
	}
	return dst, "tcp"
}

// unbound dials as a program that knows nothing about mamma does.
func (r *run) unbound(ctx context.Context, s *hostfile.Statement, number int) string {
	dst, network := destination(s, number)
	d := net.Dialer{Timeout: 4 * time.Second}
	conn, err := d.DialContext(ctx, network, dst.String())
	return r.came(s, dst, conn, err)
}

// came returns where the first packet of a connection went.
func (r *run) came(s *hostfile.Statement, dst netip.AddrPort, conn net.Conn, err error) string {
	if err == nil {
		if s.Has("udp") {
			_, err = conn.Write([]byte("x"))
		} else if c, ok := conn.(interface{ SetLinger(int) error }); ok {
			_ = c.SetLinger(0) // nobody answers the end of the connection
		}
		defer func() { _ = conn.Close() }()
	}
	wait := 2 * time.Second
	if err != nil {
		wait = 0
	}
	p, ok := r.world.First(dst, s.Has("udp"), wait)
	switch {
	case ok && err != nil:
		return fmt.Sprintf("from %s dev %s, and fails: %v", p.Source, p.Device, err)
	case ok:
		return fmt.Sprintf("from %s dev %s", p.Source, p.Device)
	case err != nil:
		return "refused"
	}
	local, _ := conn.LocalAddr().(*net.TCPAddr)
	return fmt.Sprintf("from %v dev lo", local.AddrPort().Addr())
}

// kernel returns the kernel's own answer for a destination, from whatever source.
func kernel(s *hostfile.Statement) string {
	args := []string{"-o", "route", "get", s.Args[0].Value}
	for _, key := range []string{"from", "mark"} {
		if v := s.Value(key); v != "" {
			args = append(args, key, v)
		}
	}
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return "refused: " + strings.TrimSpace(string(out))
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// doctor runs the doctor's checks.
func (r *run) doctor(ctx context.Context) ([]string, error) {
	found, err := examine(ctx, r.conf, r.dir, r.world)
	var list []string
	for _, x := range found {
		list = append(list, x.Severity.String()+" "+x.Check+" "+x.Subject)
	}
	return list, err
}

// examine returns the doctor's findings, without those that are about the kernel and
// not about the host.
func examine(ctx context.Context, conf, dir string, w *hostbed.World) ([]doctor.Finding, error) {
	cfg, err := config.Load(ctx, conf)
	if err != nil {
		return nil, err
	}
	f, err := doctor.Collect(ctx, cfg, doctor.Options{Run: dir, LinkKind: w.Kind})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(doctor.Examine(f).Findings, func(x doctor.Finding) bool { return x.Check == "mptcp" }), nil
}

// child does the task that Child has started this process for, and writes the result.
func child(task string) int {
	for prefix, f := range map[string]func(string) error{mendTask: mend, followTask: follow} {
		if subject, ok := strings.CutPrefix(task, prefix); ok {
			if err := f(subject); err != nil {
				_, _ = fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}
	var out any
	var err error
	if path, ok := strings.CutPrefix(task, dumpTask); ok {
		out, err = describe(path)
	} else {
		out, err = act(task)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
