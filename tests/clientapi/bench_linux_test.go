package clientapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The benchmarks run inside the client's namespace, against the real daemon. They compare
// things turn by turn in one run, because figures of different runs differ by more than
// what is measured.

// medians are, by name, the microseconds that the median turn took.
type medians map[string]float64

// byTurns does each of the things once in each turn, and calls before in between.
func byTurns(turns int, before func() error, things map[string]func() error) (medians, error) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range things {
			if !yield(name) {
				return
			}
		}
	})
	took := make(map[string][]time.Duration)
	for range turns {
		for _, name := range names {
			if err := before(); err != nil {
				return nil, err
			}
			begun := time.Now()
			if err := things[name](); err != nil {
				return nil, err
			}
			took[name] = append(took[name], time.Since(begun))
		}
	}
	m := make(medians)
	for name, list := range took {
		slices.Sort(list)
		m[name] = float64(list[len(list)/2]) / float64(time.Microsecond)
	}
	return m, nil
}

func nothing() error { return nil }

var benchmarks = map[string]stage.Job{
	"odd":             stage.Typed(odd),
	"bench dial":      stage.Typed(benchDial),
	"bench pool":      stage.Typed(benchPool),
	"bench http":      stage.Typed(benchHTTP),
	"link down":       stage.Typed(linkDown),
	"packets":         stage.Typed(packets),
	"packets of IPv6": stage.Typed(packets6),
}

// daemons returns two ways to the manager: one that asks about each connection, and one
// that follows leases.
func daemons(a args) (cold, warm *client.Daemon) {
	cold = &client.Daemon{Path: a.Socket, DecisionTimeout: patience, MaxLeases: -1}
	return cold, &client.Daemon{Path: a.Socket, DecisionTimeout: patience}
}

func benchDial(a args) (medians, error) {
	cold, warm := daemons(a)
	defer func() { _, _ = cold.Close(), warm.Close() }()
	d := &client.Dialer{Daemon: cold, Intents: a.intents()}
	leased := &client.Dialer{Daemon: warm, Intents: a.intents()}
	dial := func(f func(ctx context.Context, network, address string) (net.Conn, error)) func() error {
		return func() error {
			nc, err := f(context.Background(), "tcp", a.address())
			if err != nil {
				return err
			}
			// Leave no sockets in TIME_WAIT, because there would be more than ports.
			if tc, ok := nc.(interface{ SetLinger(int) error }); ok {
				_ = tc.SetLinger(0)
			}
			return nc.Close()
		}
	}
	echo, err := net.Dial("unix", a.Echo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = echo.Close() }()
	message := make([]byte, 256) // as large as a request with its intents
	exchange := func() error {
		if _, err := echo.Write(message); err != nil {
			return err
		}
		_, err := io.ReadFull(echo, message)
		return err
	}
	plain, decided := dial(new(net.Dialer).DialContext), dial(d.DialContext)
	// How long something takes depends on what was done just before, so all of these follow
	// a plain dial.
	return byTurns(a.Times, plain, map[string]func() error{
		"plain":    plain,
		"decided":  decided,
		"leased":   dial(leased.DialContext),
		"decision": func() error { _, err := d.Decide(context.Background(), "tcp", a.address()); return err },
		"echo":     exchange,
		"echoed": func() error {
			if err := exchange(); err != nil {
				return err
			}
			return plain()
		},
	})
}

func benchPool(a args) (medians, error) {
	p := &client.Pool{Dialer: &client.Dialer{Daemon: &client.Daemon{Path: a.Socket, DecisionTimeout: patience}}}
	defer func() { _ = p.Dialer.Daemon.Close() }()
	defer func() { _ = p.Close() }()
	return byTurns(a.Times, nothing, map[string]func() error{"reuse": func() error {
		s, err := p.Get(context.Background(), "tcp", a.address())
		if err != nil {
			return err
		}
		return s.Release()
	}})
}

func benchHTTP(a args) (medians, error) {
	cold, warm := daemons(a)
	defer func() { _, _ = cold.Close(), warm.Close() }()
	plain := &http.Transport{}
	each := &httpintent.Transport{Dialer: &client.Dialer{Daemon: cold, Intents: a.intents()}, Base: plain}
	leased := &httpintent.Transport{Dialer: &client.Dialer{Daemon: warm, Intents: a.intents()}, Base: plain}
	get := func(rt http.RoundTripper) func() error {
		return func() error {
			req, err := http.NewRequest(http.MethodGet, "http://"+a.Host+"/bytes/100", nil)
			if err != nil {
				return err
			}
			resp, err := rt.RoundTrip(req)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			return err
		}
	}
	defer plain.CloseIdleConnections()
	defer each.CloseIdleConnections()
	defer leased.CloseIdleConnections()
	return byTurns(a.Times, nothing, map[string]func() error{"plain": get(plain), "asked": get(each), "leased": get(leased)})
}

// measure runs a benchmark in the namespace.
func measure(b *testing.B, job string) medians {
	b.Helper()
	bed := twoNetworks(b, false)
	d, err := stage.StartDaemon(b.Context(), bed.Client, filepath.Join(bin, "mamma"), b.TempDir(), "daemon", byCategory)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Stop() }()
	actor, err := stage.StartActor(bed.Client)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = actor.Close() }()
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "echo"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // without splice
			_ = c.Close()
		}
	}()
	var m medians
	b.ResetTimer()
	if err := actor.Do(job, args{Socket: d.Socket, Echo: l.Addr().String(), Host: testbed.ServiceAddr4.String(), Category: intent.CategoryQuery, Times: b.N}, &m); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	for name, us := range m {
		b.ReportMetric(us, name+"_us")
	}
	return m
}

// BenchmarkDial measures what a decision adds to a dial. The aim is at most 100 us, and a
// twelfth of that by a lease (warm_of_cold is the ratio). An echo between two processes
// shows the lower limit for a decision: both processors have gone to sleep and are woken,
// and the dial runs on a cold one.
func BenchmarkDial(b *testing.B) {
	m := measure(b, "bench dial")
	b.ReportMetric(m["echoed"]-m["plain"], "added_by_echo_us")
	b.ReportMetric(m["decided"]-m["plain"], "added_us")
	b.ReportMetric(m["leased"]-m["plain"], "added_by_lease_us")
	b.ReportMetric((m["leased"]-m["plain"])/(m["decided"]-m["plain"]), "warm_of_cold")
}

func BenchmarkPoolReuse(b *testing.B) {
	m := measure(b, "bench pool")
	b.ReportMetric(1e6/m["reuse"], "reuses/s")
}

// BenchmarkHTTP measures what asking for each request adds, and what following leases adds.
func BenchmarkHTTP(b *testing.B) {
	m := measure(b, "bench http")
	b.ReportMetric(m["asked"]-m["plain"], "added_us")
	b.ReportMetric(m["leased"]-m["plain"], "added_by_lease_us")
}
