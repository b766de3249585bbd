package httpintent

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

// bySize is a manager with a network of loopback for what is large and another
// for the rest, whose idle connections are used again.
func bySize(r clienttest.Request) clienttest.Answer {
	source := "127.0.0.2"
	if size, _ := r.Intents.FileSize(); size >= 1000 {
		source = "127.0.0.3"
	}
	a := clienttest.From(source)(r)
	for i, idle := range r.Idle {
		if idle.Source == a.Source && a.Reuse == 0 {
			a.Reuse = i + 1
		}
	}
	return a
}

// start returns a Transport that asks a manager with that script each time.
func start(t testing.TB, script clienttest.Script) (*Transport, *clienttest.Manager) {
	t.Helper()
	d := clienttest.Start(t, script)
	daemon := &client.Daemon{Path: d.Path, DecisionTimeout: 5 * time.Second}
	tr := &Transport{Dialer: &client.Dialer{Daemon: daemon}, DecisionTTL: -1}
	t.Cleanup(func() { tr.CloseIdleConnections(); _ = daemon.Close() })
	return tr, d
}

// sources is a server that answers with the address the request came from, in
// as many bytes as its path says, and remembers the addresses with ports.
type sources struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func startSources(t testing.TB, h2 bool) *sources {
	s := &sources{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.RemoteAddr)
		s.mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		var size int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &size)
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("Source", host)
		if r.URL.Query().Has("chunked") {
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), size))
	}))
	if h2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// conns counts connections that requests came over.
func (s *sources) conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(slices.Compact(slices.Sorted(slices.Values(s.seen))))
}

// get requests and reads all, and returns where the request came from.
func get(t testing.TB, rt http.RoundTripper, url string, set intent.Set) string {
	t.Helper()
	ctx := t.Context()
	if !set.IsZero() {
		ctx = intent.NewContext(ctx, set)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Request != req {
		t.Error("the response names another request")
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.Header.Get("Source")
}

func small() intent.Set { return intent.Set{}.WithFileSize(10) }
func large() intent.Set { return intent.Set{}.WithFileSize(1e6) }

// asked returns the file sizes of the requests that the manager saw.
func asked(d *clienttest.Manager) (all []int64) {
	for _, r := range d.Requests() {
		if r.Kind == clienttest.Connect || r.Kind == clienttest.Choose {
			size, ok := r.Intents.FileSize()
			if !ok {
				size = -1
			}
			all = append(all, size)
		}
	}
	return all
}

func TestEachRequestGoesItsWay(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[h2], func(t *testing.T) {
			s := startSources(t, h2)
			tr, d := start(t, bySize)
			tr.Base = s.Client().Transport.(*http.Transport)
			var got []string
			for _, set := range []intent.Set{small(), large(), small(), large(), large()} {
				got = append(got, get(t, tr, s.URL+"/5", set))
			}
			want := []string{"127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3", "127.0.0.3"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if n := s.conns(); n != 2 {
				t.Errorf("%d connections for two networks", n)
			}
			r := d.Requests()
			if len(r) != 5 || r[4].Kind != clienttest.Choose || len(r[4].Idle) != 2 {
				t.Errorf("%d questions, the last one offers %d connections", len(r), len(r[len(r)-1].Idle))
			}
		})
	}
}

func TestDecisionsServeForAMoment(t *testing.T) {
	s := startSources(t, false)
	tr, d := start(t, bySize)
	tr.DecisionTTL = time.Hour
	tr.MaxPatterns = -1
	for range 3 {
		get(t, tr, s.URL+"/5", small())
		get(t, tr, s.URL+"/5", large())
	}
	if diff := cmp.Diff([]int64{10, 1e6}, asked(d)); diff != "" {
		t.Errorf("questions (-want +got)\n%s", diff)
	}
	tr.CloseIdleConnections() // forgets them
	get(t, tr, s.URL+"/5", small())
	if n := len(asked(d)); n != 3 {
		t.Errorf("%d questions", n)
	}
	for i := range maxDecisions + 10 {
		get(t, tr, s.URL+"/5", intent.Set{}.WithFileSize(int64(i)))
	}
	if n := len(tr.decisions); n > maxDecisions {
		t.Errorf("%d decisions are kept", n)
	}
}

func TestSizesAreLearnt(t *testing.T) {
	s := startSources(t, false)
	tr, d := start(t, bySize)
	for _, path := range []string{"/4000?a", "/5000?b", "/5000?chunked", "/4000"} {
		get(t, tr, s.URL+path, intent.Set{})
	}
	get(t, tr, s.URL+"/0", small()) // what is stated counts
	// 4000, then 4250, then 4437
	if diff := cmp.Diff([]int64{-1, 4096, 4096, 4096, 10}, asked(d)); diff != "" {
		t.Errorf("expected sizes (-want +got)\n%s", diff)
	}

	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(make([]byte, 100))
	}))
	defer redirect.Close()
	get(t, tr, redirect.URL, intent.Set{})
	get(t, tr, redirect.URL, intent.Set{})
	if all := asked(d); all[len(all)-1] != -1 {
		t.Errorf("the size of a failure was learnt: %d", all[len(all)-1])
	}
}

func TestWithoutManager(t *testing.T) {
	s := startSources(t, false)
	tr := &Transport{Dialer: &client.Dialer{Daemon: &client.Daemon{Path: filepath.Join(t.TempDir(), "none")}}}
	defer tr.CloseIdleConnections()
	for range 3 {
		if got := get(t, tr, s.URL+"/5", large()); got != "127.0.0.1" {
			t.Errorf("came from %s", got)
		}
	}
	if n := s.conns(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestZeroValue(t *testing.T) {
	s := startSources(t, false)
	d := clienttest.Start(t, bySize)
	t.Setenv("MAMMA_SOCKET", d.Path)
	var tr Transport
	web := &http.Client{Transport: &tr}
	resp, err := web.Post(s.URL+"/5", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	// Only a body read to its end leaves the connection idle before Close returns.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	_ = resp.Body.Close()
	web.CloseIdleConnections()
	if got := resp.Header.Get("Source"); got != "127.0.0.2" {
		t.Errorf("came from %s", got)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.conns) != 0 {
		t.Errorf("%d connections are open", len(tr.conns))
	}
}

// A connection that came about without following the decision serves its request,
// but no other.
func TestFallbackIsNotKept(t *testing.T) {
	s := startSources(t, false)
	var failing atomic.Bool
	failing.Store(true)
	tr, _ := start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.From("127.0.0.2")(r)
		if failing.Load() {
			a.Options = []clienttest.Option{{Level: 4711, Name: 1, Value: []byte{1}}} // no socket has it
		}
		return a
	})
	for _, want := range []int{1, 2} {
		if got := get(t, tr, s.URL+"/5", small()); got != "127.0.0.1" || s.conns() != want {
			t.Errorf("came from %s over connection %d, want %d", got, s.conns(), want)
		}
	}
	failing.Store(false)
	for range 2 {
		if got := get(t, tr, s.URL+"/5", small()); got != "127.0.0.2" || s.conns() != 3 {
			t.Errorf("came from %s over connection %d, want 3", got, s.conns())
		}
	}
	tr.CloseIdleConnections()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.conns) != 0 {
		t.Errorf("%d addresses have connections still", len(tr.conns))
	}
}

func TestNetworksAreBounded(t *testing.T) {
	s := startSources(t, false)
	i := 0
	tr, _ := start(t, func(r clienttest.Request) clienttest.Answer {
		if r.Kind == clienttest.Connect || r.Kind == clienttest.Choose {
			i++
		}
		return clienttest.From(fmt.Sprintf("127.0.1.%d", i))(r)
	})
	for range maxNetworks + 3 {
		get(t, tr, s.URL+"/5", small())
	}
	tr.mu.Lock()
	n := len(tr.networks)
	tr.mu.Unlock()
	if n != maxNetworks {
		t.Errorf("%d networks are kept", n)
	}
}

// What http.RoundTripper and http.Transport promise.

// watched is a body that tells when it is closed.
type watched struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func watch(r io.Reader) *watched { return &watched{Reader: r, closed: make(chan struct{})} }

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *watched) wait(t *testing.T) {
	t.Helper()
	select {
	case <-w.closed:
	case <-time.After(10 * time.Second):
		t.Error("the body is not closed")
	}
}

func TestBodyIsClosed(t *testing.T) {
	s := startSources(t, false)
	tr, _ := start(t, bySize)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		url  string
		ok   bool
	}{
		{"success", t.Context(), s.URL, true},
		{"nothing listens", t.Context(), "http://127.0.0.1:1/", false},
		{"cancelled before", gone, s.URL, false},
		{"other scheme", t.Context(), "gopher://127.0.0.1/", false},
		{"no host", t.Context(), "http:///x", false},
		{"no port", t.Context(), "http://127.0.0.1:nonsense/", false},
		{"unsuitable host", t.Context(), "http://exa mple/", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := watch(strings.NewReader("hello"))
			req := (&http.Request{Method: http.MethodPost, Header: http.Header{}, Body: b, ContentLength: 5}).WithContext(tt.ctx)
			var err error
			if req.URL, err = url.Parse(tt.url); err != nil {
				host := strings.TrimSuffix(strings.TrimPrefix(tt.url, "http://"), "/")
				req.URL = &url.URL{Scheme: "http", Host: host, Path: "/"}
			}
			resp, err := tr.RoundTrip(req)
			if (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			b.wait(t)
		})
	}
	b := watch(strings.NewReader(""))
	if _, err := tr.RoundTrip(&http.Request{Body: b}); err == nil { //nolint:bodyclose // there is none
		t.Error("a request without anything is no error")
	}
	b.wait(t)
}

func TestRequestIsNotChanged(t *testing.T) {
	s := startSources(t, false)
	tr, _ := start(t, bySize)
	ctx := context.WithValue(t.Context(), watched{}, 1) //nolint:revive // any value
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/5", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Test", "1")
	before := req.Clone(ctx)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if req.Context() != ctx || req.Body != nil || req.Host != before.Host || *req.URL != *before.URL {
		t.Error("the request was changed")
	}
	if diff := cmp.Diff(before.Header, req.Header); diff != "" {
		t.Errorf("header (-want +got)\n%s", diff)
	}
}

func TestCancellation(t *testing.T) {
	arrived := make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer slow.Close()
	tr, _ := start(t, bySize)
	for _, path := range []string{"/header", "/body"} {
		t.Run(path, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-arrived; cancel() }()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, slow.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("decision", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr, _ := start(t, func(r clienttest.Request) clienttest.Answer { cancel(); return clienttest.Silent(r) })
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, slow.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.RoundTrip(req); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is none
			t.Errorf("error %v", err)
		}
	})
}

// What was sent over a connection that turns out to be dead is sent again if that
// cannot do harm.
func TestRetriesOnlyWhenSafe(t *testing.T) {
	var mu sync.Mutex
	var first map[string]bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen := first[r.RemoteAddr]
		first[r.RemoteAddr] = true
		mu.Unlock()
		if seen { // the second request on a connection
			nc, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = nc.Close()
			}
		}
	}))
	defer s.Close()
	for method, ok := range map[string]bool{http.MethodGet: true, http.MethodPost: false} {
		t.Run(method, func(t *testing.T) {
			mu.Lock()
			first = make(map[string]bool)
			mu.Unlock()
			tr, _ := start(t, bySize)
			get(t, tr, s.URL, small())
			req, err := http.NewRequestWithContext(intent.NewContext(t.Context(), small()), method, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if (err == nil) != ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSwitchingProtocols(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.CopyN(nc, rw, 5)
	}))
	defer s.Close()
	tr, _ := start(t, bySize)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	rw, ok := resp.Body.(io.ReadWriter)
	if !ok {
		t.Fatalf("the body of %s cannot be written to", resp.Status)
	}
	_, _ = io.WriteString(rw, "hello")
	if b, err := io.ReadAll(rw); string(b) != "hello" {
		t.Errorf("%q (%v)", b, err)
	}
}

// Through a proxy, the decision is about the proxy.
func TestProxy(t *testing.T) {
	s := startSources(t, false)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("Source", host)
		w.Header().Set("Target", r.URL.Host)
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr, d := start(t, bySize)
	tr.Base = &http.Transport{Proxy: http.ProxyURL(u)}
	for range 2 {
		if got := get(t, tr, s.URL+"/5", large()); got != "127.0.0.3" {
			t.Errorf("the proxy was reached from %s", got)
		}
	}
	for _, r := range d.Requests() {
		if fmt.Sprint(r.Port) != u.Port() || len(r.Idle) > 0 {
			t.Errorf("asked about port %d with %d connections", r.Port, len(r.Idle))
		}
	}
	failing := &Transport{Dialer: tr.Dialer, Base: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("no proxy") }}}
	if _, err := failing.RoundTrip(request(t, "GET", s.URL).WithContext(t.Context())); err == nil { //nolint:bodyclose // there is none
		t.Error("no error")
	}
}

// The connection that a trace sees tells how it came about, TLS or not.
func TestTraceAndInfo(t *testing.T) {
	s := startSources(t, true)
	tr, _ := start(t, bySize)
	tr.Base = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	var info client.Info
	var ok bool
	ctx := httptrace.WithClientTrace(intent.NewContext(t.Context(), large()), &httptrace.ClientTrace{
		GotConn: func(g httptrace.GotConnInfo) { info, ok = client.InfoOf(g.Conn) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !ok || info.Source.String() != "127.0.0.3" || resp.ProtoMajor != 2 {
		t.Errorf("%s: %+v", resp.Proto, info)
	}
}

func TestManyAtOnce(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := startSources(t, h2)
		tr, _ := start(t, bySize)
		tr.DecisionTTL = time.Millisecond
		tr.Base = s.Client().Transport.(*http.Transport)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 10 {
					set, want := small(), "127.0.0.2"
					if (i+j)%2 == 0 {
						set, want = large(), "127.0.0.3"
					}
					if got := get(t, tr, s.URL+"/5", set); got != want {
						t.Errorf("came from %s, want %s", got, want)
					}
				}
			})
		}
		wg.Wait()
	}
}

// A request that the policy refuses fails, also where an idle connection is there.
func TestRefused(t *testing.T) {
	s := startSources(t, false)
	var refuse atomic.Bool
	m := clienttest.Start(t, func(clienttest.Request) clienttest.Answer {
		return clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2"), Refused: refuse.Load(), Reason: "not today"}
	})
	daemon := &client.Daemon{Path: m.Path}
	tr := &Transport{Dialer: &client.Dialer{Daemon: daemon}, DecisionTTL: -1}
	t.Cleanup(func() { tr.CloseIdleConnections(); _ = daemon.Close() })
	get(t, tr, s.URL+"/5", small())
	refuse.Store(true)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/5", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, client.ErrRefused) || s.conns() != 1 {
		t.Errorf("error %v over %d connections", err, s.conns())
	}
}

// A request that may not go everywhere uses no connection that was made for others.
func TestSelection(t *testing.T) {
	s := startSources(t, false)
	tr, _ := start(t, bySize)
	get(t, tr, s.URL+"/5", small())
	strict := client.SelectionProperties{}.WithInterface("nosuchinterface", client.Require)
	req, err := http.NewRequestWithContext(client.WithSelection(t.Context(), strict), http.MethodGet, s.URL+"/5", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, client.ErrNotPermitted) || s.conns() != 1 {
		t.Errorf("error %v over %d connections", err, s.conns())
	}
}
