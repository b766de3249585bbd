package httpintent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

// bySize is a manager that chooses one loopback address for what is large and another
// one for the rest. It uses idle connections again.
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

// start returns a Transport that asks a manager with that script.
func start(t testing.TB, script clienttest.Script) (*Transport, *clienttest.Manager) {
	t.Helper()
	d := clienttest.Start(t, script)
	daemon := &client.Daemon{Path: d.Path, DecisionTimeout: 5 * time.Second}
	tr := &Transport{Dialer: &client.Dialer{Daemon: daemon}}
	t.Cleanup(func() { tr.CloseIdleConnections(); _ = daemon.Close() })
	return tr, d
}

// sources is a server. It answers with the address that the request came from, in as
// many bytes as its path says, and records the addresses with ports.
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

// conns returns how many connections the requests came over.
func (s *sources) conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(slices.Compact(slices.Sorted(slices.Values(s.seen))))
}

// get sends a request, reads the whole response, and returns the address that the
// request came from.
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

// asked returns the file sizes in the requests to the manager.
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

func TestDecisionsServeAsLongAsTheManagerSays(t *testing.T) {
	s := startSources(t, false)
	tr, d := start(t, func(r clienttest.Request) clienttest.Answer {
		a := bySize(r)
		a.Lease = time.Hour
		return a
	})
	tr.MaxPatterns = -1
	for range 3 {
		get(t, tr, s.URL+"/5", small())
		get(t, tr, s.URL+"/5", large())
	}
	// These are the first request of each kind, then one with a connection on offer,
	// then one with both.
	if diff := cmp.Diff([]int64{10, 1e6, 10, 1e6}, asked(d)); diff != "" {
		t.Errorf("questions (-want +got)\n%s", diff)
	}
	d.VoidLeases()
	get(t, tr, s.URL+"/5", small())
	if n := len(asked(d)); n != 5 {
		t.Errorf("%d questions", n)
	}
}

func TestSizesAreLearnt(t *testing.T) {
	s := startSources(t, false)
	tr, d := start(t, bySize)
	for _, path := range []string{"/4000?a", "/5000?b", "/5000?chunked", "/4000"} {
		get(t, tr, s.URL+path, intent.Set{})
	}
	get(t, tr, s.URL+"/0", small()) // a stated size takes precedence
	// The sizes are 4000, then 4250, then 4437.
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
	// The connection is idle before Close returns only if the body was read to its end.
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

// A connection that did not follow the decision serves its own request and no other.
func TestFallbackIsNotKept(t *testing.T) {
	s := startSources(t, false)
	var failing atomic.Bool
	failing.Store(true)
	tr, _ := start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.From("127.0.0.2")(r)
		if failing.Load() {
			a.Options = []clienttest.Option{{Level: 4711, Name: 1, Value: []byte{1}}} // no socket has this option
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

// A request that the policy refuses fails, even if there is an idle connection.
func TestRefused(t *testing.T) {
	s := startSources(t, false)
	var refuse atomic.Bool
	m := clienttest.Start(t, func(clienttest.Request) clienttest.Answer {
		return clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2"), Refused: refuse.Load(), Reason: "not today"}
	})
	daemon := &client.Daemon{Path: m.Path}
	tr := &Transport{Dialer: &client.Dialer{Daemon: daemon}}
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

// A request with a selection uses no connection that was made for requests without it.
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
