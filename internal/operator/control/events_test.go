package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// follow reads events in the background.
func follow(t *testing.T, c *Client, since *uint64, wanted Filter) <-chan Event {
	t.Helper()
	events := make(chan Event, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := c.Events(ctx, since, wanted, func(_ []byte, e *Event) error {
			events <- *e
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Events: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return events
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-ctx(t).Done():
		t.Fatal("no event")
		panic("unreachable")
	}
}

func TestEvents(t *testing.T) {
	v := view()
	d := start(t, v, nil)
	d.decide(t, 2)
	zero := uint64(0)
	events := follow(t, d.client(t), &zero, Filter{})
	for seq := uint64(1); seq <= 2; seq++ {
		if e := next(t, events); e.Type != EventDecision || e.Decision.Seq != seq || e.Decision.Chosen.Interface != "wlan0" || !e.Time.Equal(e.Decision.Time) {
			t.Fatalf("event %+v, want decision %d, at its own time", e, seq)
		}
	}
	d.decide(t, 1)
	if e := next(t, events); e.Type != EventDecision || e.Decision.Seq != 3 {
		t.Errorf("event %+v", e)
	}

	// In a new View, wlan0 has recovered, wwan0 has gone and eth0 has come.
	wlan := *v.Prefixes[0]
	wlan.Health = policy.Health{}
	v2 := &mam.View{Prefixes: []*policy.Prefix{&wlan, network("eth0", 5, "10.1.0.2/24")}, Runner: v.Runner}
	d.Publish(v2)
	got := map[string]string{}
	for range 3 {
		e := next(t, events)
		if e.Type != EventPrefix {
			t.Fatalf("event %+v", e)
		}
		got[e.Prefix.Prefix.Interface] = e.Prefix.Change + " " + e.Prefix.Prefix.Health.State
	}
	if diff := cmp.Diff(map[string]string{"wlan0": "health up", "wwan0": "removed up", "eth0": "added up"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	// New measurements are not an event. A setting is one.
	again, eth := wlan, *v2.Prefixes[1]
	again.Stats.Conns, eth.Cost = 99, policy.Expensive
	d.Publish(&mam.View{Prefixes: []*policy.Prefix{&again, &eth}, Runner: v.Runner})
	if e := next(t, events); e.Type != EventPrefix || e.Prefix.Change != "changed" || e.Prefix.Prefix.Cost != "expensive" || !slices.Equal(e.Prefix.Differs, []string{"cost"}) {
		t.Errorf("event %+v", e)
	}
	// So is the gateway, which the kernel tells with the first connection.
	d.Publish(&mam.View{Prefixes: []*policy.Prefix{&again, &eth}, Runner: v.Runner, Told: map[policy.PrefixID]mam.Told{
		eth.ID: {Facts: []mam.Fact{{Name: "gateway", Value: "aa:b5:d2:a9:59:ae", Source: "kernel"}}},
	}})
	if e := next(t, events); e.Type != EventPrefix || e.Prefix.Change != "changed" || !slices.Equal(e.Prefix.Differs, []string{"facts"}) || e.Prefix.Prefix.Interface != "eth0" {
		t.Errorf("event %+v", e)
	}

	d.set(func(s *State) { s.LoadError, s.LoadErrorTime = "policy.conf:1,1: wrong", epoch })
	if e := next(t, events); e.Type != EventReload || e.Reload.Error == nil || *e.Reload.Error != "policy.conf:1,1: wrong" {
		t.Errorf("event %+v", e)
	}
	d.set(func(s *State) { s.LoadError, s.LoadErrorTime, s.Loaded = "", time.Time{}, epoch })
	if e := next(t, events); e.Type != EventReload || e.Reload.Error != nil || *e.Reload.Policy != "scripted" {
		t.Errorf("event %+v", e)
	}
}

// Decisions that the user may not see are skipped. Those that were forgotten are counted.
func TestEventsDroppedAndHidden(t *testing.T) {
	d := start(t, view(), nil)
	d.decide(t, 70) // 64 are remembered
	zero := uint64(0)
	events := follow(t, d.client(t), &zero, Filter{})
	if e := next(t, events); e.Type != EventDropped || *e.Dropped != 6 {
		t.Errorf("event %+v, want 6 dropped", e)
	}
	if e := next(t, events); e.Type != EventDecision || e.Decision.Seq != 7 {
		t.Errorf("event %+v, want decision 7", e)
	}

	d.as(stranger)
	events = follow(t, d.client(t), &zero, Filter{})
	if e := next(t, events); e.Type != EventDropped {
		t.Errorf("event %+v", e)
	}
	d.set(func(s *State) { s.Loaded = epoch })
	if e := next(t, events); e.Type != EventReload {
		t.Errorf("a stranger sees %+v", e)
	}
}

// The stream ends when the server does.
func TestEventsEndWithServer(t *testing.T) {
	l, err := unixsocket.Listen(filepath.Join(t.TempDir(), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	m := mam.New(mam.Options{})
	run, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- New(Options{Manager: m}).Serve(run, l) }()
	c := NewClient(l.Path())
	defer c.Close()
	var st Status
	if _, err := c.Get(ctx(t), "/v1/status", &st); err != nil || st.Policy.InService || *st.Policy.WhyNot != "no policy is loaded" {
		t.Fatalf("%+v, %v", st, err)
	}
	resp, err := c.send(ctx(t), http.MethodGet, "/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	cancel()
	if _, err := io.ReadAll(resp.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("unix", l.Path()); err == nil {
		t.Error("the socket still answers")
	}
}

func TestDecisionsWindow(t *testing.T) {
	d := start(t, view(), nil)
	d.decide(t, 70)
	for _, tt := range []struct {
		query string
		want  []uint64 // first and last
	}{
		{"", []uint64{7, 70}}, {"?limit=5", []uint64{66, 70}}, {"?limit=0", nil}, {"?since=60", []uint64{61, 70}},
		{"?since=60&limit=2", []uint64{61, 62}}, {"?since=70", nil}, {"?since=99", nil}, {"?since=0&limit=3", []uint64{7, 9}},
	} {
		for _, who := range []peer{root, {Cred: d.self()}} {
			d.as(who)
			var out Decisions
			if _, err := d.client(t).Get(ctx(t), "/v1/decisions"+tt.query, &out); err != nil {
				t.Fatal(err)
			}
			var got []uint64
			if n := len(out.Decisions); n > 0 {
				got = []uint64{out.Decisions[0].Seq, out.Decisions[n-1].Seq}
			}
			if !slices.Equal(got, tt.want) || out.Last != 70 {
				t.Errorf("%q: first and last %v of %d, want %v", tt.query, got, out.Last, tt.want)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	const maxConns = httpserver.MaxConns
	const maxConnsPerUser, reservedConns = maxConns / sharePerUser, maxConns / shareReserved
	l := newListener(nil, guard{owner: 900}, nil, nil, maxConns)
	enter := func(p peer, n int) {
		t.Helper()
		for range n {
			if !l.enter(p) {
				t.Fatalf("user %d is refused below the limit", p.UID)
			}
		}
	}
	refused := func(p peer, why string) {
		t.Helper()
		if l.enter(p) {
			t.Errorf("user %d is admitted: %s", p.UID, why)
		}
	}
	enter(stranger, maxConnsPerUser)
	refused(stranger, "limit per user")
	enter(primary, maxConnsPerUser)
	enter(member, maxConnsPerUser)
	enter(root, maxConns-reservedConns-3*maxConnsPerUser)
	refused(peer{Cred: unixsocket.Cred{UID: 2000}}, "reserved for root and the daemon's user")
	enter(owner, 1)
	enter(root, reservedConns-1)
	refused(root, "limit of all")
	l.leave(stranger)
	enter(owner, 1)
	l.leave(owner)
	l.leave(owner)
	want := map[uint32]int{0: 31, 1001: maxConnsPerUser, 1002: maxConnsPerUser, 1003: maxConnsPerUser - 1}
	if diff := cmp.Diff(want, maps.Clone(l.users)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// Of few descriptors the control socket takes few, and still some. Root is not shut out.
func TestLimitsByFiles(t *testing.T) {
	for _, files := range []uint64{0, 64, 256, 1024, 1<<64 - 1} {
		most := httpserver.Conns(files)
		l := newListener(nil, guard{owner: 900}, nil, nil, most)
		others, all := 0, 0
		for uid := range uint32(10 * httpserver.MaxConns) { // each as many connections as are left
			for l.enter(peer{Cred: unixsocket.Cred{UID: 3000 + uid}}) {
				others++
			}
		}
		for all = others; l.enter(root); all++ {
		}
		if others == 0 || others >= most || all != most {
			t.Errorf("of %d, others have %d, and all %d", most, others, all)
		}
	}
}

func TestCount(t *testing.T) {
	m := start(t, view(), nil)
	if c := count(m.Decisions(), epoch); c != (DecisionCounts{}) {
		t.Errorf("nothing was decided: %+v", c)
	}
	m.decide(t, 10)
	c := count(m.Decisions(), time.Now())
	if c.Remembered != 10 || c.PerMinute != 10 || c.TookP50MS == nil || *c.TookP99MS < *c.TookP50MS {
		t.Errorf("%+v", c)
	}
	if c := count(m.Decisions(), time.Now().Add(time.Hour)); c.PerMinute != 0 {
		t.Errorf("an hour later: %+v", c)
	}
	m.decide(t, 100) // now only the latest 64 tell the rate
	if c := count(m.Decisions(), time.Now()); c.Remembered != 64 || c.PerMinute <= 64 {
		t.Errorf("%+v", c)
	}
	list := make([]time.Duration, 200)
	for i := range list {
		list[i] = time.Duration(i + 1)
	}
	if a, b := quantile(list, 50), quantile(list, 99); a != 100 || b != 198 || quantile(list[:1], 99) != 1 {
		t.Errorf("quantiles %d, %d", a, b)
	}
}

// A client that asks for events and does not read them disturbs nobody.
func TestEventsUnread(t *testing.T) {
	d := start(t, view(), nil)
	c, err := net.Dial("unix", filepath.Join(d.dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /v1/events?since=0 HTTP/1.1\r\nHost: mamma\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil { // it is being served
		t.Fatal(err)
	}
	d.decide(t, 2000) // far more than the socket's buffer holds
	var st Status
	if _, err := d.client(t).Get(ctx(t), "/v1/status", &st); err != nil || st.Decisions.Total != 2000 {
		t.Errorf("%d decisions, %v", st.Decisions.Total, err)
	}
}

// An event that was cut off is not reported as wrong data, because the server has gone or
// the client has had enough.
func TestEventCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"type":"reload"}`+"\n"+`{"type":"dec`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	c := NewClient(path)
	t.Cleanup(c.Close)
	var got []string
	err = c.Events(ctx(t), nil, Filter{}, func(_ []byte, e *Event) error {
		got = append(got, e.Type)
		return nil
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != 1 {
		t.Errorf("events %v, error %v", got, err)
	}
}

// A peer about whom the kernel says nothing is not served, and the log says so.
func TestUnknownPeerIsRefused(t *testing.T) {
	var said lockedBuffer
	d := start(t, view(), func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		o.peer = func(*net.UnixConn) (peer, error) { return peer{}, errors.New("no credentials") }
	})
	c, err := net.Dial("unix", filepath.Join(d.dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: mamma\r\n\r\n") // an error is ignored: it may be closed already
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", b, err)
	}
	if !strings.Contains(said.String(), "does not say who it is") {
		t.Errorf("logged: %s", said.String())
	}
}

// lockedBuffer is a buffer that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
