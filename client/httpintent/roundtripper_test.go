package httpintent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

// These tests show what http.RoundTripper and http.Transport promise.

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
		t.Error("a request without anything gives no error")
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

// If a connection turns out to be dead, the request is sent again, if that can do no
// harm.
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

// If there is a proxy, the decision is about the connection to the proxy.
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

// The connection that a trace gets has its Info, with TLS or without.
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
