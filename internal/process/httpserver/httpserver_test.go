package httpserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Metrics are served, and nothing else is, until the end.
func TestMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "mamma_up 1\n") })
	go func() { served <- Serve(run, l, New(Metrics(h), slog.New(slog.DiscardHandler))) }()
	var tr http.Transport
	defer tr.CloseIdleConnections()
	hc := http.Client{Transport: &tr}
	for path, want := range map[string]int{"/metrics": 200, "/v1/status": 404, "/": 404} {
		resp, err := hc.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Of few descriptors some connections get some, and of many not too many.
func TestConns(t *testing.T) {
	for files, want := range map[uint64]int{0: leastConns, 64: leastConns, 256: 16, 1024: 64, 2048: MaxConns, 1<<64 - 1: MaxConns} {
		if got := Conns(files); got != want {
			t.Errorf("of %d descriptors, %d connections get some, want %d", files, got, want)
		}
	}
}

// While there are as many connections as may be, further ones are closed at once. The end
// of one makes room.
func TestLimit(t *testing.T) {
	const most = 3
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inner.Close() }()
	l := Limit(inner, most)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var served []net.Conn
	for range most {
		dial()
		served = append(served, <-accepted)
	}
	for range 5 {
		if _, err := dial().Read(make([]byte, 1)); err == nil {
			t.Error("one too many is served")
		}
	}
	_, _ = served[0].Close(), served[0].Close() // the second time frees nothing
	dial()
	served[0] = <-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("the room of a connection was given twice")
	}
	_ = inner.Close()
	for range accepted {
	}
	for _, c := range served {
		_ = c.Close()
	}
}

// No part of a request may take for ever, or have any length.
func TestRequestsAreBounded(t *testing.T) {
	hs := New(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	for name, got := range map[string]time.Duration{"header": hs.ReadHeaderTimeout, "request": hs.ReadTimeout, "answer": hs.WriteTimeout, "idle": hs.IdleTimeout} {
		if got <= 0 || got > 5*time.Minute {
			t.Errorf("%s: %v", name, got)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(run, l, hs) }()
	var tr http.Transport
	defer tr.CloseIdleConnections()
	for n, want := range map[int]int{maxHeaderBytes / 2: http.StatusNotFound, 2 * maxHeaderBytes: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X", strings.Repeat("x", n))
		resp, err := tr.RoundTrip(req)
		if err != nil && n > maxHeaderBytes {
			continue // it was closed before all was read
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a header of %d bytes: %d, want %d", n, resp.StatusCode, want)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
