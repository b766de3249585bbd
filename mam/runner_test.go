package mam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Whatever a policy does, the client gets an answer: the default prefix, with the
// reason.
func TestPolicyFailures(t *testing.T) {
	foreign := prefix("gone0", 9, "10.99.0.1/24")
	for _, tt := range []struct {
		name   string
		policy chooser
		reason string
	}{
		{"panic", func(*policy.Request) policy.Decision { panic("boom") }, "policy panicked: boom"},
		{"runtime error", func(r *policy.Request) policy.Decision { return policy.Decision{Prefix: r.Prefixes[99]} }, "index out of range"},
		{"a prefix that is gone", func(*policy.Request) policy.Decision { return policy.Decision{Prefix: foreign} }, "which was not offered"},
		{"a socket of its own", func(*policy.Request) policy.Decision { return policy.Decision{Socket: &policy.Socket{FD: 1}} }, "socket that was not offered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := host(tt.policy)
			v.Prefixes[0].Default, v.Prefixes[1].Default = false, true
			d := start(t, v, Options{})
			c := d.dial(t)
			for range 2 { // the daemon and the connection go on
				req := connectTo("192.0.2.1:80")
				req.Features = everything
				got := c.ask(req)
				if got.Context.BindSuggested != sockAddr("10.77.2.1:0") || !strings.Contains(got.Reason, tt.reason) {
					t.Errorf("suggested %v because of %q", got.Context.BindSuggested, got.Reason)
				}
			}
		})
	}
}

func TestNonsenseAlternatesAreDropped(t *testing.T) {
	foreign := prefix("gone0", 9, "10.99.0.1/24")
	d := start(t, host(chooser(func(r *policy.Request) policy.Decision {
		return policy.Decision{Prefix: r.Prefixes[0], Alternates: []*policy.Prefix{foreign, r.Prefixes[0], r.Prefixes[1]}}
	})), Options{})
	req := connectTo("192.0.2.1:80")
	req.Features = everything
	if got := d.dial(t).ask(req); len(got.Alternates) != 1 || got.Alternates[0].Local != sockAddr("10.77.2.1:0") {
		t.Errorf("alternates %+v", got.Alternates)
	}
}

// If a call does not return, the clients that wait are answered, and so are later ones.
// When the call returns at last, its goroutine touches nothing.
func TestStuckPolicy(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	v := host(chooser(func(r *policy.Request) policy.Decision {
		entered <- struct{}{}
		<-release
		return policy.Decision{Prefix: r.Prefixes[1]}
	}))
	d := start(t, v, Options{})
	stuck, waiting := d.dial(t), d.dial(t)
	send := func(c *client) {
		req := connectTo("192.0.2.1:80")
		req.Features = everything
		b, _ := req.Append(nil)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	send(stuck)
	<-entered
	send(waiting)
	for _, c := range []*client{stuck, waiting} {
		got := c.read()
		if got.Context.BindSuggested != sockAddr("10.77.1.1:0") || !strings.Contains(got.Reason, "out of service") {
			t.Errorf("suggested %v because of %q", got.Context.BindSuggested, got.Reason)
		}
	}
	close(release)
	send(stuck)
	if got := stuck.read(); !strings.Contains(got.Reason, "out of service") {
		t.Errorf("afterwards: %q", got.Reason)
	}
	if err := v.Runner.Err(); err == nil {
		t.Error("the policy counts as in service")
	}
	d.Publish(host(takeFirst))
	send(stuck)
	if got := stuck.read(); got.Reason != "first" {
		t.Errorf("after a reload: %q", got.Reason)
	}
}

// Close waits for the running call and then closes the policy. Requests that come too
// late go to the new policy.
func TestRunnerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		r := NewRunner("test", closer{takeFirst, func() { close(closed) }}, slog.New(slog.DiscardHandler))
		release := make(chan struct{})
		go func() {
			_, _ = r.call(nil, func(policy.Policy) { <-release })
		}()
		synctest.Wait()
		go func() { _ = r.Close() }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed while a call goes on")
		default:
		}
		if _, err := r.call(nil, func(policy.Policy) { t.Error("called while closing") }); !errors.Is(err, errReplaced) {
			t.Errorf("call: %v", err)
		}
		close(release)
		<-closed
	})
}

func TestRunnerCloseGivesUpOnStuckCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner("test", closer{takeFirst, func() { t.Error("closed during a call") }}, slog.New(slog.DiscardHandler))
		release := make(chan struct{})
		go func() {
			if mine, _ := r.call(nil, func(policy.Policy) { <-release }); mine {
				t.Error("an abandoned call thinks that it goes on")
			}
		}()
		synctest.Wait()
		if err := r.Close(); err != nil { // returns, because virtual time passes
			t.Error(err)
		}
		close(release)
	})
}

// A policy that panics when it is closed, or that never returns, delays nobody.
func TestRunnerCloseContains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		for want, f := range map[string]func(){
			"policy panicked: out of order": func() { panic("out of order") },
			"has not returned within 1s":    func() { <-never },
		} {
			r := NewRunner("test", closer{takeFirst, f}, slog.New(slog.DiscardHandler))
			if err := r.Close(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		close(never)
	})
}

type closer struct {
	policy.Policy
	f func()
}

func (c closer) Close() error { c.f(); return nil }

// Reloads under load lose no answer and mix nothing up. Every answer is from one of the
// policies, with that policy's prefix.
func TestPublishUnderLoad(t *testing.T) {
	pick := func(i int) *View {
		return host(chooser(func(r *policy.Request) policy.Decision {
			return policy.Decision{Prefix: r.Prefixes[i], Reason: fmt.Sprint(i)}
		}))
	}
	d := start(t, pick(0), Options{})
	var wg sync.WaitGroup
	for range 4 {
		c := d.dial(t)
		wg.Go(func() {
			for range 500 {
				req := connectTo("192.0.2.1:80")
				req.Features = everything
				got := c.ask(req)
				want := map[string]string{"0": "10.77.1.1:0", "1": "10.77.2.1:0"}[got.Reason]
				if want == "" || got.Context.BindSuggested != sockAddr(want) {
					t.Errorf("reason %q, suggested %v", got.Reason, got.Context.BindSuggested)
					return
				}
			}
		})
	}
	for i := range 100 {
		d.Publish(pick(i % 2))
	}
	wg.Wait()
}

type logging struct {
	chooser
	file string
	line func(*policy.Request, policy.Decision) string // nil: destination and interface
}

func (l logging) LogFile() string { return l.file }
func (l logging) LogLine(r *policy.Request, d policy.Decision) string {
	if l.line != nil {
		return l.line(r, d)
	}
	return fmt.Sprintf("<ts>,%s,%s", r.Remote, d.Prefix.Interface)
}

func TestPolicyLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.csv")
	m := New(Options{})
	m.Publish(host(logging{chooser: takeFirst, file: file}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	rq := &request{}
	for range 3 {
		rq.fill(connectTo("192.0.2.1:80"), policy.Connect, policy.App{}, m.View(), time.Unix(1795338649, 184885000))
		if !m.choose(rq, nil) {
			t.Fatal("not mine")
		}
		m.remember(rq)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("1795338649.184885,192.0.2.1:80,wlan0\n", 3); string(got) != want {
		t.Errorf("log holds %q, want %q", got, want)
	}
}

// A request has one line in the log, that of the decision which was answered. The
// policy may be asked again if the name turns out to be reached otherwise.
func TestPolicyLogOneLineForEachRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.csv")
	asked := 0
	l := logging{file: file}
	l.line = func(r *policy.Request, d policy.Decision) string {
		asked++
		switch {
		case r.Host == "six.test" && len(r.Prefixes) == 2:
			return "" // it has nothing to log for this one
		case d.Prefix == nil:
			return fmt.Sprintf("<ts>,%v,%s,none", r.Kind, r.Host)
		}
		return fmt.Sprintf("<ts>,%v,%s,%v,default", r.Kind, r.Host, d.Prefix.ID)
	}
	l.chooser = func(r *policy.Request) policy.Decision {
		return policy.Decision{Prefix: r.DefaultPrefix()}
	}
	d := start(t, host(l), Options{})
	c := d.dial(t)
	for _, action := range []wire.Action{wire.ActionSocketConnectRequest, wire.ActionSocketChooseRequest} {
		for _, host := range []string{"localhost", "host.test", "six.test", "nope.test"} {
			rq := socketConnectTo(host, "80")
			rq.Action = action
			c.ask(rq)
		}
	}
	if asked != 14 { // all but host.test are decided twice
		t.Errorf("the policy was asked for %d lines", asked)
	}
	const wlan = "10.77.1.0/24%wlan0,default"
	var want []string
	for _, kind := range []policy.Kind{policy.SocketConnect, policy.SocketChoose} {
		for _, what := range []string{"localhost,none", "host.test," + wlan, "six.test," + wlan, "nope.test,none"} {
			want = append(want, fmt.Sprintf("%v,%s", kind, what))
		}
	}
	d.stop()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), ",")
		got = append(got, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

func TestPolicyLogFailureIsReportedOnce(t *testing.T) {
	dir := t.TempDir()
	var reports bytes.Buffer
	w := policyFile{log: slog.New(slog.NewTextHandler(&reports, nil))}
	defer w.close()
	for range 3 {
		w.write(policyLine{file: dir, text: "a directory"})
	}
	w.write(policyLine{file: filepath.Join(dir, "p.csv"), text: "line\n"})
	if b, _ := os.ReadFile(filepath.Join(dir, "p.csv")); string(b) != "line\n" {
		t.Errorf("the next policy's log holds %q", b)
	}
	if n := strings.Count(reports.String(), "cannot be written"); n != 1 {
		t.Errorf("reported %d times, want once:\n%s", n, reports.String())
	}
}

func TestReconfigure(t *testing.T) {
	m := New(Options{})
	if err := m.Reconfigure("x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a policy: %v", err)
	}
	m.Publish(host(takeFirst))
	if err := m.Reconfigure("x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("with a policy that takes nothing: %v", err)
	}
	m.Publish(host(reconfigurable{takeFirst}))
	if err := m.Reconfigure("10.0.0.1"); err == nil || err.Error() != "got 10.0.0.1 and 4 prefixes" {
		t.Errorf("got %v", err)
	}
}

// If a policy does not return from Reconfigure, the caller gets an error.
func TestReconfigureStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m := New(Options{})
		v := host(stuckInReconfigure{takeFirst, release})
		m.Publish(v)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		if err := m.Reconfigure("x"); err == nil || !strings.Contains(err.Error(), "out of service") {
			t.Errorf("got %v", err)
		}
		close(release)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type stuckInReconfigure struct {
	chooser
	release chan struct{}
}

func (s stuckInReconfigure) Reconfigure(string, []*policy.Prefix) error {
	<-s.release
	return nil
}

type reconfigurable struct{ chooser }

func (reconfigurable) Reconfigure(text string, ps []*policy.Prefix) error {
	return fmt.Errorf("got %s and %d prefixes", text, len(ps))
}

type annotated struct{ chooser }

func (annotated) Annotate(p *policy.Prefix) string { return policy.AnnotateDefault(p) }

// talkative has everything that an announcement can contain.
type talkative struct{ annotated }

func (talkative) LogFile() string                                 { return "some.log" }
func (talkative) LogLine(*policy.Request, policy.Decision) string { return "" }
func (talkative) Announcement() []string                          { return []string{"one", "two"} }

func TestAnnouncement(t *testing.T) {
	v := host(annotated{takeFirst})
	v.Prefixes = v.Prefixes[:2]
	v.Runner = NewRunner("test", talkative{annotated: annotated{takeFirst}}, nil)
	var out strings.Builder
	if err := v.WriteAnnouncement(&out); err != nil {
		t.Fatal(err)
	}
	want := `Configured addresses:
    AF_INET:
        10.77.1.1 (default)
        10.77.2.1
    AF_INET6:
        (none)
Logging to some.log
one
two
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestRing(t *testing.T) {
	r := NewRing(4)
	changed, stop := r.Watch()
	defer stop()
	var last Record
	for i := range 6 {
		last = Record{Host: fmt.Sprint(i), App: policy.App{UID: 7}}
		r.add(&last)
	}
	<-changed
	var hosts []string
	for _, rec := range r.Since(0) {
		hosts = append(hosts, rec.Host)
	}
	if got := strings.Join(hosts, ""); got != "2345" {
		t.Errorf("a ring of 4 after 6 holds %s", got)
	}
	if got := r.Since(5); len(got) != 1 || got[0].Seq != 6 {
		t.Errorf("since 5: %+v", got)
	}
	if _, ok := r.report(last.ID, 8, Outcome{}); ok {
		t.Error("another user's report was taken")
	}
	if rec, ok := r.report(last.ID, 7, Outcome{Errno: 111}); !ok || rec.Outcome.Errno != 111 {
		t.Errorf("report: %+v %v", rec, ok)
	}
	if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(last.ID.String()) {
		t.Errorf("id %v", last.ID)
	}
	forged := last.ID
	forged[0] ^= 1
	if _, ok := r.Get(forged); ok {
		t.Error("a forged id is known")
	}
}

func TestKindOfCoversTheProtocol(t *testing.T) {
	for a := wire.Action(-1); a < 80; a++ {
		k, known := kindOf(a)
		if known != (a == 0 || a == 2 || a == 4 || a == 7) {
			t.Errorf("action %d known: %v (%v)", a, known, k)
		}
	}
}
