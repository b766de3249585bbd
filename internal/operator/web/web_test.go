package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a scripted control server of a daemon. It notes the requests, and streams for as
// long as the client reads.
type fake struct {
	mu    sync.Mutex
	asked []string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.asked = append(f.asked, r.Method+" "+r.URL.String()+" "+string(body))
	f.mu.Unlock()
	switch r.URL.Path {
	case "/v1/events":
		for i := 1; r.Context().Err() == nil; i++ {
			_, _ = fmt.Fprintf(w, "{\"type\":\"decision\",\"decision\":{\"seq\":%d,\"reason\":%q}}\n", i, strings.Repeat("x", 1000))
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	case "/v1/missing", "/v1/mptcp":
		w.WriteHeader(http.StatusNotImplemented)
		_ = json.NewEncoder(w).Encode(control.Failure{Error: "no <b>such</b> thing", Code: "unsupported"})
	default:
		_, _ = io.WriteString(w, `{"now":"2026-03-01T12:00:00Z"}`)
	}
}

func (f *fake) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.asked...)
}

// start serves the page for a fake daemon.
func start(t *testing.T, f *fake, o Options) *Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	if f != nil {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		hs := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
		tasks.Go(func() { _ = hs.Serve(l) })
		t.Cleanup(func() { _ = hs.Close() })
	}
	o.Client = control.NewClient(path)
	s, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), o)
	if err != nil {
		t.Fatal(err)
	}
	tasks.Go(func() {
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		o.Client.Close()
	})
	return s
}

var browserless = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// ask sends a request as the page does, with the changes that f makes.
func ask(t *testing.T, s *Server, method, path, body string, f func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if f != nil {
		f(req)
	}
	resp, err := browserless.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// A request without the token, by another name or from another page gets nothing of the
// daemon's.
func TestFence(t *testing.T) {
	f := &fake{}
	s := start(t, f, Options{AllowChanges: true})
	port := fmt.Sprint(s.addr.Port())
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"the page", nil, 200},
		{"by the name of the host itself", func(r *http.Request) { r.Host = "localhost:" + port; r.Header.Set("Origin", "http://"+r.Host) }, 200},
		{"a program without Sec-Fetch-Site", func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") }, 200},
		{"no token", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"another token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Repeat("A", len(s.token))) }, 401},
		{"a part of the token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.token[:10]) }, 401},
		{"another scheme", func(r *http.Request) { r.Header.Set("Authorization", "Basic "+s.token) }, 401},
		{"the token in a cookie", func(r *http.Request) {
			r.Header.Del("Authorization")
			r.AddCookie(&http.Cookie{Name: "token", Value: s.token})
		}, 401},
		{"the token in the query", func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "token=" + s.token }, 401},
		{"rebound name", func(r *http.Request) { r.Host = "evil.example:" + port }, 421},
		{"rebound name without port", func(r *http.Request) { r.Host = "evil.example" }, 421},
		{"another port", func(r *http.Request) { r.Host = "127.0.0.1:1" }, 421},
		{"no port", func(r *http.Request) { r.Host = "127.0.0.1" }, 421},
		{"another origin", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403},
		{"another port's page", func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") }, 403},
		{"a page of files", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		{"https", func(r *http.Request) { r.Header.Set("Origin", "https://"+s.addr.String()) }, 403},
		{"the origin that fits a rebound name", func(r *http.Request) { r.Host = "evil.example:" + port; r.Header.Set("Origin", "http://"+r.Host) }, 421},
		{"another site", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"another port of the same site", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
	} {
		for _, what := range []struct{ method, path, body string }{
			{"GET", "/api/status", ""}, {"GET", "/api/decisions", ""}, {"POST", "/api/set", `{"text":"x"}`}, {"POST", "/api/reload", `{}`},
		} {
			before := len(f.list())
			status, _, body := ask(t, s, what.method, what.path, what.body, tt.change)
			if status != tt.status {
				t.Errorf("%s: %s %s: %d, want %d: %s", tt.name, what.method, what.path, status, tt.status, body)
			}
			if asked := len(f.list()) > before; asked != (tt.status == 200) {
				t.Errorf("%s: %s %s: the daemon was asked: %v", tt.name, what.method, what.path, asked)
			}
			if strings.Contains(body, s.token) {
				t.Errorf("%s: the token is told", tt.name)
			}
		}
	}
	// The contents of the files are no secret, but they are not served by another name
	// either.
	if status, _, body := ask(t, s, "GET", "/", "", func(r *http.Request) { r.Header.Del("Authorization") }); status != 200 || strings.Contains(body, s.token) {
		t.Errorf("%d", status)
	}
	if status, _, _ := ask(t, s, "GET", "/", "", func(r *http.Request) { r.Host = "evil.example" }); status != 421 {
		t.Errorf("by another name: %d", status)
	}
}

// Every response makes the browser run nothing but the page's files.
func TestPolicies(t *testing.T) {
	s := start(t, &fake{}, Options{})
	for _, path := range []string{"/", "/app.js", "/style.css", "/icon.svg", "/none", "/api/status", "/api/none", "/api/mptcp"} {
		_, h, _ := ask(t, s, "GET", path, "", nil)
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q has no %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || strings.Contains(csp, "http") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "", "Set-Cookie": ""} {
			if path == "/none" && name == "Cache-Control" {
				continue // package net/http takes it from what is not there
			}
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	if status, h, _ := ask(t, s, "OPTIONS", "/api/set", "", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }); status == 200 || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight of another origin: %d, %v", status, h)
	}
}

// A page of another origin can send a form without asking the browser first. Its type of body is
// not taken. Headers and bodies are bounded.
func TestRequestsAreBounded(t *testing.T) {
	f := &fake{}
	s := start(t, f, Options{AllowChanges: true})
	for _, tt := range []struct {
		name   string
		body   string
		change func(*http.Request)
		status int
	}{
		{"a form", `{"text":"x"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400},
		{"no type", `{"text":"x"}`, func(r *http.Request) { r.Header.Del("Content-Type") }, 400},
		{"an unknown field", `{"text":"x","more":1}`, nil, 400},
		{"a long body", `{"text":"` + strings.Repeat("x", maxBody) + `"}`, nil, 400},
	} {
		if status, _, body := ask(t, s, "POST", "/api/set", tt.body, tt.change); status != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, status, tt.status, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr.String()+"/api/set", strings.NewReader(`{"text":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + s.token}, "Content-Type": {"application/json"}, "X": {strings.Repeat("x", 2*maxHeaderBytes)}}
	if resp, err := browserless.Do(req); err == nil { // an error is of a connection that was closed before all was read
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a long header: %d", resp.StatusCode)
		}
	}
	if asked := f.list(); len(asked) > 0 {
		t.Errorf("the daemon was asked: %q", asked)
	}
}

// Without --allow-changes, no request can change anything.
func TestNothingIsChanged(t *testing.T) {
	f := &fake{}
	s := start(t, f, Options{})
	for _, path := range []string{"/api/set", "/api/reload"} {
		if status, _, body := ask(t, s, "POST", path, `{"text":"x"}`, nil); status != 403 || !strings.Contains(body, "--allow-changes") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		for _, path := range []string{"/api/status", "/api/prefixes", "/api/policy", "/api/mptcp", "/api/scopes", "/api/history?since=1", "/api/decisions?limit=5", "/api/explain",
			"/api/set", "/api/reload", "/api/doctor", "/api/runs", "/api/page", "/api/profile/heap", "/api/../v1/reload", "/v1/reload"} {
			_, _, _ = ask(t, s, method, path, `{}`, nil)
		}
	}
	for _, asked := range f.list() {
		if !strings.HasPrefix(asked, "GET /v1/") && !strings.HasPrefix(asked, "POST /v1/explain ") {
			t.Errorf("the daemon was asked: %s", asked)
		}
	}
	allowed := start(t, f, Options{AllowChanges: true})
	if status, _, body := ask(t, allowed, "POST", "/api/set", `{"text":"x"}`, nil); status != 200 {
		t.Errorf("with leave: %d %s", status, body)
	}
	if list := f.list(); list[len(list)-1] != `POST /v1/set {"text":"x"}` {
		t.Errorf("asked %q", list[len(list)-1])
	}
}

// Malformed requests are refused. A refusal by the daemon is passed on in the daemon's
// words.
func TestAnswers(t *testing.T) {
	f := &fake{}
	s := start(t, f, Options{Doctor: func(context.Context) (doctor.Report, error) { return doctor.Report{Passed: 3}, nil }})
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/status", "", 200, `"now"`},
		{"GET", "/api/history?since=x", "", 400, "since must be a number"},
		{"GET", "/api/decisions?limit=-1", "", 400, "limit must be a number"},
		{"GET", "/api/events?since=x", "", 400, "since must be a number"},
		{"GET", "/api/events?started=2026-03-01T12:00:00Z", "", 409, "restarted"},
		{"GET", "/api/mptcp", "", 501, "no \\u003cb\\u003esuch\\u003c/b\\u003e thing"},
		{"POST", "/api/explain", `{"host":"a"}`, 200, `"now"`},
		{"POST", "/api/explain", `{"hosts":"a"}`, 400, "unknown field"},
		{"POST", "/api/explain", `{"host":"` + strings.Repeat("a", maxBody) + `"}`, 400, "too large"},
		{"POST", "/api/doctor", "", 200, `"passed":3`},
		{"GET", "/api/scopes", "", 200, `"now":"2026-03-01T12:00:00Z"`},
		{"GET", "/api/runs", "", 200, `"runs":[]`},
		{"GET", "/api/page", "", 200, `{"allow_changes":false,"doctor":true}`},
		{"GET", "/api/none", "", 404, ""},
		{"POST", "/", "", 405, ""},
	} {
		status, _, body := ask(t, s, tt.method, tt.path, tt.body, nil)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %d %.200s", tt.method, tt.path, status, body)
		}
	}
	for _, limit := range []string{"", "?limit=100000"} {
		_, _, _ = ask(t, s, "GET", "/api/decisions"+limit, "", nil)
		if list := f.list(); list[len(list)-1] != "GET /v1/decisions?limit=1000 " {
			t.Errorf("%q: asked %q", limit, list[len(list)-1])
		}
	}
	absent := start(t, nil, Options{})
	for _, path := range []string{"/api/status", "/api/events"} {
		if status, _, body := ask(t, absent, "GET", path, "", nil); status != 502 || !strings.Contains(body, `"absent"`) || !strings.Contains(body, "no mamma answers") {
			t.Errorf("%s without a daemon: %d %s", path, status, body)
		}
	}
	if status, _, body := ask(t, absent, "POST", "/api/doctor", "", nil); status != 501 {
		t.Errorf("%d %s", status, body)
	}
}

// If a page does not read, the daemon has to wait. A few streams may be open, and no more.
func TestStreamsAreBounded(t *testing.T) {
	f := &fake{}
	s := start(t, f, Options{})
	open := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.addr.String()+"/api/events?since=7", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		resp, err := browserless.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for i := range maxStreams {
		if resp := open(); resp.StatusCode != 200 {
			t.Fatalf("stream %d: %d", i, resp.StatusCode)
		}
	}
	if resp := open(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", resp.StatusCode)
	}
	asked := 0
	for _, a := range f.list() {
		if strings.HasPrefix(a, "GET /v1/events?since=7 ") {
			asked++
		}
	}
	if asked > maxStreams {
		t.Errorf("%d streams of the daemon", asked)
	}
	// A client that sends nothing keeps nobody out for long, and there can be only so many
	// of these.
	var silent []net.Conn
	for range maxConns + 5 {
		c, err := net.Dial("tcp", s.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	closed := 0
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == io.EOF || strings.Contains(fmt.Sprint(err), "reset") {
			closed++
		}
		_ = c.Close()
	}
	if closed < 5 {
		t.Errorf("%d of %d silent connections were closed", closed, len(silent))
	}
}

func TestListenOnLoopbackOnly(t *testing.T) {
	if _, err := Listen(netip.MustParseAddrPort("0.0.0.0:0"), Options{}); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := At(l, Options{}); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("a listener that was handed over: %v", err)
	}
	if l.Close() == nil {
		t.Error("it is left open")
	}
	s, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	other, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if s.token == other.token || len(s.token) < 26 || !strings.HasPrefix(s.Link(), "http://127.0.0.1:") || !strings.HasSuffix(s.Link(), "/#"+s.token) {
		t.Errorf("%s, %s", s.Link(), other.Link())
	}
}
