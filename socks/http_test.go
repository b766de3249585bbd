package socks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// client returns a net/http client that uses the proxy. Its connections end with the
// test.
func (p *testProxy) client(t *testing.T, user *url.Userinfo) *http.Client {
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr.String(), User: user})}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testTimeout}
}

// mirror answers each request with what it received.
func mirror(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", "yes")
		if r.URL.Path == "/teapot" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = fmt.Fprintf(w, "%s %s %s via=%q hint=%q proxy=%q fwd=%q body=%s", r.Method, r.URL.RequestURI(), r.Host,
			r.Header.Get("Via"), r.Header.Get("Socket-Intents"), r.Header.Get("Proxy-Authorization")+r.Header.Get("Proxy-Connection"), r.Header.Get("X-Forwarded-For"), body)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPlainHTTP(t *testing.T) {
	server := mirror(t)
	host := strings.TrimPrefix(server.URL, "http://")
	p := newProxy(t, Config{PrivateHeaders: []string{"Socket-Intents"}})
	client := p.client(t, url.UserPassword("bob", "x"))
	for _, tt := range []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
		want                     string
	}{
		{"get", "GET", "/a?b=c;d", "", nil, 200, `GET /a?b=c;d HOST via="" hint="" proxy="" fwd="" body=`},
		{"post", "POST", "/", "data", nil, 200, `POST / HOST via="" hint="" proxy="" fwd="" body=data`},
		{"hints and hop-by-hop headers stay here", "GET", "/", "", http.Header{"Socket-Intents": {"category=stream"}, "Proxy-Connection": {"keep-alive"}, "X-Forwarded-For": {"192.0.2.1"}}, 200,
			`GET / HOST via="" hint="" proxy="" fwd="192.0.2.1" body=`},
		{"status", "GET", "/teapot", "", nil, 418, `GET /teapot HOST via="" hint="" proxy="" fwd="" body=`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest(tt.method, server.URL+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tt.header
			if req.Header == nil {
				req.Header = http.Header{}
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.ReplaceAll(tt.want, "HOST", host), string(body)); diff != "" || resp.StatusCode != tt.status || resp.Header.Get("X-Seen") != "yes" {
				t.Errorf("status %d, header %v, body (-want +got):\n%s", resp.StatusCode, resp.Header, diff)
			}
		})
	}
	client.CloseIdleConnections()
	e := p.wait(t)
	if r := e.session.Request; e.err != nil || r.Protocol != HTTP || r.User != "bob" || r.Dest.String() != host || e.session.Received() == 0 {
		t.Errorf("session %+v ended with %v", r, e.err)
	}
}

func TestPlainHTTPFailures(t *testing.T) {
	denied := mirror(t)
	deniedPort := netip.MustParseAddrPort(strings.TrimPrefix(denied.URL, "http://")).Port()
	p := newProxy(t, Config{Rules: denyPort(deniedPort)})
	auth := newProxy(t, Config{Auth: onlyAlice{}})
	for _, tt := range []struct {
		name string
		p    *testProxy
		user *url.Userinfo
		url  string
		want int
	}{
		{"refused", p, nil, "http://" + closedPort(t).String(), 502},
		{"not allowed", p, nil, denied.URL, 403},
		{"itself", p, nil, "http://" + p.addr.String(), 403},
		{"no password", auth, nil, denied.URL, 407},
		{"wrong password", auth, url.UserPassword("alice", "x"), denied.URL, 407},
		{"right password", auth, url.UserPassword("alice", "secret"), denied.URL, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := tt.p.client(t, tt.user).Get(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
}

// A tunnel can follow plain requests on the same connection.
func TestTunnelAfterPlainRequest(t *testing.T) {
	server, echo := mirror(t), serveEcho(t)
	p := newProxy(t, Config{})
	c := p.dial(t)
	if _, err := fmt.Fprintf(c, "GET %s/ HTTP/1.1\r\nHost: x\r\n\r\n", server.URL); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\nhello", echo); err != nil {
		t.Fatal(err)
	}
	if resp, err = http.ReadResponse(br, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = c.CloseWrite()
	if got, err := io.ReadAll(br); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// An upgrade, for instance to WebSocket, is passed on.
func TestUpgrade(t *testing.T) {
	dest := serveTCP(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.CopyN(c, br, 5)
	})
	p := newProxy(t, Config{})
	c := p.dial(t)
	if _, err := fmt.Fprintf(c, "GET http://%s/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", dest); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(br, got); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestShutdown(t *testing.T) {
	release := make(chan struct{})
	dest := serveTCP(t, func(c *net.TCPConn) {
		<-release
		_, _ = io.WriteString(c, "late")
	})
	p := newProxy(t, Config{})
	web := mirror(t)
	keep := p.client(t, nil)
	if resp, err := keep.Get(web.URL); err != nil {
		t.Fatal(err)
	} else {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	c := p.through(t, dest.String())
	done := make(chan error, 1)
	go func() { done <- p.Shutdown(t.Context()) }()
	p.wait(t) // the idle HTTP connection ends first
	if _, err := net.DialTimeout("tcp", p.addr.String(), time.Second); err == nil {
		t.Error("the proxy still listens")
	}
	close(release)
	if got, err := io.ReadAll(c); string(got) != "late" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_ = c.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
