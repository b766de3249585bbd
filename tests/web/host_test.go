package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
	"github.com/socket-intents/mamma/internal/operator/web"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/testing/chromium"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is a time limit for machines that are busy with other tests.
const patience = 2 * time.Minute

// fastest is a policy that chooses the network that it predicts to be fastest, which is the
// last one.
type fastest struct{ reason string }

func (f *fastest) Choose(r *policy.Request) policy.Decision {
	d := policy.Decision{Reason: f.reason}
	for i, p := range r.Prefixes {
		predicted := time.Duration(len(r.Prefixes)-i) * 2500 * time.Millisecond
		d.Scores = append(d.Scores, policy.Score{Prefix: p, Predicted: predicted, Terms: []policy.Term{
			{Name: "rtt", Unit: policy.Milliseconds, Value: float64(10 * (i + 1)), Time: r.Now.Add(-3 * time.Second)},
			{Name: "free capacity", Unit: policy.ByteRate, Value: 1e6 * float64(i+1)},
		}})
	}
	if n := len(r.Prefixes); n > 0 {
		d.Prefix = r.Prefixes[n-1]
		d.Alternates = r.Prefixes[:min(n-1, 1)]
	}
	return d
}

// network makes a network that is busy, in a given second after the first sample.
func network(i int, iface, name, addr string, second int) *policy.Prefix {
	p := netip.MustParsePrefix(addr)
	now := time.Now()
	wave := 1 + float64((second*7+i*13)%20)
	return &policy.Prefix{
		ID: policy.PrefixID{Interface: iface, Prefix: p.Masked()}, Name: name, Interface: iface, Index: i + 2, CIDR: p.Masked(), Addrs: []netip.Addr{p.Addr()},
		Stats: policy.PathStats{Time: now, SampleTime: now, Conns: 3, SRTTMedian: time.Duration(wave * float64(time.Millisecond)), SRTTMin: time.Millisecond},
		Link:  policy.LinkStats{Time: now, DownRate: policy.BytesPerSecond(wave * 1e5), DownSMA: policy.BytesPerSecond(wave * 1e5), UpRate: policy.BytesPerSecond(wave * 1e4)},
	}
}

func two(second int) []*policy.Prefix {
	wifi, lte := network(0, "wlan0", "wifi", "192.168.0.23/24", second), network(1, "wwan0", "lte", "10.64.3.9/10", second)
	wifi.Default = true
	wifi.Wifi = &policy.WifiStats{Time: time.Now(), Signal: int8(-60 - second%7)}
	lte.Cost = policy.Metered
	lte.Budget = policy.Budget{Limit: 5e9, Used: 42e8, Reset: time.Now().AddDate(0, 0, 12)}
	return []*policy.Prefix{wifi, lte}
}

// anywhere is the destination of all names.
type anywhere struct{}

func (anywhere) Lookup(context.Context, string, policy.Family) (mam.Result, error) {
	return mam.Result{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, nil
}

// daemon is what answers at the control socket.
type daemon struct {
	*mam.Manager
	past     *control.Past
	requests string
	runner   *mam.Runner
	begun    time.Time // of the past
	scopes   atomic.Pointer[control.Scopes]
	stop     func()
}

// startDaemon starts a daemon with ten minutes of past, whose sockets are in dir.
func startDaemon(t *testing.T, dir string, networks func(second int) []*policy.Prefix, reason string) *daemon {
	t.Helper()
	d := &daemon{
		Manager: mam.New(mam.Options{Keep: 1024}), past: control.NewPast(), requests: filepath.Join(dir, "mamma.sock"),
		runner: mam.NewRunner("fastest", &fastest{reason}, slog.New(slog.DiscardHandler)), begun: time.Now().Add(-9 * time.Minute),
	}
	d.scopes.Store(&control.Scopes{Scopes: []control.Scope{}})
	for s := range 9 * 60 {
		d.past.Note(&mam.View{Time: d.begun.Add(time.Duration(s) * time.Second), Prefixes: networks(s)}, nil)
	}
	d.publish(networks(9 * 60))
	requests, err := unixsocket.Listen(d.requests, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	at, err := unixsocket.Listen(filepath.Join(dir, "control.sock"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	server := control.New(control.Options{
		Manager: d.Manager, Past: d.past, Version: "0.9.0", Started: time.Now(),
		Multipath: func() (control.Multipath, error) { return multipath(), nil },
		Scopes:    func(context.Context) (control.Scopes, error) { return *d.scopes.Load(), nil },
	})
	for _, f := range []func(context.Context) error{
		d.Run,
		func(ctx context.Context) error { return mam.NewServer(d.Manager).Serve(ctx, requests.UnixListener) },
		func(ctx context.Context) error { return server.Serve(ctx, at) },
	} {
		tasks.Go(func() {
			if err := f(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	d.stop = sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
		_, _ = requests.Close(), at.Close()
	})
	t.Cleanup(d.stop)
	return d
}

// publish makes these the present networks.
func (d *daemon) publish(networks []*policy.Prefix) {
	v := &mam.View{
		Time: time.Now(), Prefixes: networks, Runner: d.runner, Devices: map[policy.PrefixID]string{},
		Fresh: func() (policy.Policy, error) { return &fastest{"asked"}, nil }, Resolver: anywhere{},
	}
	d.past.Note(v, nil)
	d.Publish(v)
}

func multipath() control.Multipath {
	known := func(s string) *string { return &s }
	rtt := 12.5
	return control.Multipath{PathManager: known("kernel"), Managed: true, Connections: []control.MultipathConn{{
		Token: "1", Local: "192.168.0.23:40000", Remote: "192.0.2.1:443", Host: known("www.example.net"), Sent: 1000, Received: 5e6,
		Subflows: []control.MultipathSubflow{
			{Local: "192.168.0.23:40000", Remote: "192.0.2.1:443", Interface: known("wlan0"), First: true, Established: true, Received: 3e6, RTTMS: &rtt},
			{Local: "10.64.3.9:40001", Remote: "192.0.2.1:443", Interface: known("wwan0"), Backup: true, Established: true, Received: 2e6},
		},
	}}, Endpoints: []control.MultipathEndpoint{}, Without: []control.PrefixRef{}, Counters: control.MultipathCounters{Opened: 1}}
}

// asker asks for decisions on a connection.
type asker struct {
	c net.Conn
	r *wire.Reader
}

func (d *daemon) asker(t *testing.T) *asker {
	t.Helper()
	c, err := net.Dial("unix", d.requests)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &asker{c, wire.NewReader(c)}
}

// ask asks about a host for a program, and returns the answer.
func (a *asker) ask(host, command string) (wire.Message, error) {
	m := wire.Message{Action: wire.ActionSocketConnectRequest, HasAction: true, Features: wire.FeatureOrigin | wire.FeatureReports,
		Origin:  &wire.Origin{UID: 1000, PID: 4242, Command: command, Source: "run"},
		Context: wire.Context{Domain: wire.AFInet, Type: wire.SockStream, Hostname: host, Service: "443"}}
	return a.exchange(m)
}

func (a *asker) exchange(m wire.Message) (answer wire.Message, err error) {
	b, err := m.Append(nil)
	if err != nil {
		return answer, err
	}
	if _, err := a.c.Write(b); err != nil {
		return answer, err
	}
	return answer, a.r.Read(&answer)
}

// serveWeb serves the page of the daemon in dir, and returns its link.
func serveWeb(t *testing.T, dir string, change func(*web.Options)) string {
	t.Helper()
	client := control.NewClient(filepath.Join(dir, "control.sock"))
	o := web.Options{Client: client, Doctor: func(context.Context) (doctor.Report, error) { return report(), nil }}
	if change != nil {
		change(&o)
	}
	s, err := web.Listen(netip.MustParseAddrPort("127.0.0.1:0"), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
	return s.Link()
}

func report() doctor.Report {
	return doctor.Report{Passed: 11, Findings: []doctor.Finding{{
		Severity: doctor.Problem, Check: "source-route", Subject: "10.64.0.0/10 on wwan0", Text: "replies would leave by wlan0",
		Evidence: "route to 192.0.2.1 from 10.64.3.9 goes by wlan0", Copes: "it asks for SO_BINDTODEVICE on each socket",
		Fix: []string{"ip rule add from 10.64.3.9 lookup 101 && ip route add default via 10.64.0.1 dev wwan0 table 101", `routing = "manage"`},
	}}}
}

// browser opens pages. Each test has a browser of its own.
func browser(t *testing.T) *chromium.Browser {
	t.Helper()
	b, err := chromium.Start(t.TempDir(), nil)
	if errors.Is(err, chromium.ErrUnavailable) {
		testbed.SkipOrFail(t, fmt.Errorf("%w: %w", testbed.ErrUnavailable, err))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// page opens a link. At its end, it fails the test if there was anything to complain about.
func page(t *testing.T, ctx context.Context, b *chromium.Browser, link string) *chromium.Page {
	t.Helper()
	p, err := b.Open(ctx, link)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func calm(t *testing.T, p *chromium.Page) {
	t.Helper()
	for _, c := range p.Complaints() {
		t.Errorf("the browser complains: %.500s", c)
	}
}

func await(t *testing.T, ctx context.Context, p *chromium.Page, condition string) {
	t.Helper()
	if err := p.Await(ctx, condition); err != nil {
		var text string
		_ = p.Eval(context.WithoutCancel(ctx), "document.body.innerText.slice(0, 3000)", &text)
		t.Fatalf("%v\n%s\n%q", err, text, p.Complaints())
	}
}

func eval(t *testing.T, ctx context.Context, p *chromium.Page, expression string, v any) {
	t.Helper()
	if err := p.Eval(ctx, expression, v); err != nil {
		t.Fatal(err)
	}
}
