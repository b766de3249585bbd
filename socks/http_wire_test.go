package socks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveWire is a server that notes the header of each request and sends an answer.
func serveWire(t *testing.T, answer string) (addr string, heads <-chan string) {
	t.Helper()
	seen := make(chan string, 100)
	dest := serveTCP(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		for {
			var head strings.Builder
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					return
				}
				head.WriteString(line)
				if line == "\r\n" {
					break
				}
			}
			seen <- head.String()
			if _, err := io.WriteString(c, answer); err != nil || !strings.Contains(answer, "Content-Length") {
				return
			}
		}
	})
	return dest.String(), seen
}

// Requests arrive as they were sent, except for fields that concern the proxy.
func TestHTTPRequestsAreNotRewritten(t *testing.T) {
	p := newProxy(t, Config{PrivateHeaders: []string{"Socket-Intents"}})
	via := newProxy(t, Config{Via: "here"})
	addr, heads := serveWire(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	for _, tt := range []struct {
		name, send, want string
		p                *testProxy
	}{
		{"a percent sign alone", "GET http://ADDR/100% HTTP/1.1\r\nHost: ADDR\r\n\r\n", "GET /100% HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"what a URL parser would mend", "GET http://ADDR/a/../b//c;d?%7e[]|\"<>{}`^#f HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a/../b//c;d?%7e[]|\"<>{}`^#f HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"bytes beyond ASCII", "GET http://ADDR/\xc3\xa4\xff HTTP/1.1\r\nHost: x\r\n\r\n", "GET /\xc3\xa4\xff HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"no path", "GET HTTP://ADDR?q HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?q HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"names, order and doubles", "GET http://ADDR/ HTTP/1.1\r\nx-B: 1\r\nHOST: x\r\nX-a:2\r\nX-B:  3 \r\nCookie: a\r\nCookie: b\r\n\r\n", "GET / HTTP/1.1\r\nx-B: 1\r\nHOST: ADDR\r\nX-a: 2\r\nX-B: 3\r\nCookie: a\r\nCookie: b\r\n\r\n", p},
		{"hop by hop", "GET http://ADDR/ HTTP/1.1\r\nHost: x\r\nConnection: X-Mine, keep-alive, Host, Content-Length\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\nUpgrade: h2c\r\nSocket-Intents: category=query\r\nContent-Length: 0\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\nContent-Length: 0\r\n\r\n", p},
		{"no host", "GET http://user:secret@ADDR/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"another method", "brew-2 http://ADDR/ HTTP/1.1\r\nHost: x\r\n\r\n", "brew-2 / HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"options of the server", "OPTIONS http://ADDR HTTP/1.1\r\nHost: x\r\nMax-Forwards: 2\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: ADDR\r\nMax-Forwards: 1\r\n\r\n", p},
		{"max-forwards of others", "GET http://ADDR/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\nMax-Forwards: 0\r\n\r\n", p},
		{"lines that end with LF", "GET http://ADDR/ HTTP/1.1\nHost: x\nA: b\n\n", "GET / HTTP/1.1\r\nHost: ADDR\r\nA: b\r\n\r\n", p},
		{"a control byte in a value", "GET http://ADDR/ HTTP/1.1\r\nHost: x\r\nA: b\x01c\x00d\re\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\nA: b\x01c d e\r\n\r\n", p},
		{"an empty line before it", "\r\n\r\nGET http://ADDR/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\n\r\n", p},
		{"via", "GET http://ADDR/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\nVia: 1.1 here\r\n\r\n", via},
		{"a long header", "GET http://ADDR/ HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 300<<10) + "\r\n\r\n", "GET / HTTP/1.1\r\nHost: ADDR\r\nA: " + strings.Repeat("a", 300<<10) + "\r\n\r\n", p},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.p.exchange(t, strings.ReplaceAll(tt.send, "ADDR", addr), 1)
			if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nok") {
				t.Fatalf("answer %.200q", got)
			}
			if diff := cmp.Diff(strings.ReplaceAll(tt.want, "ADDR", addr), <-heads); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A request that a server might read as two requests, or as another one, is not passed
// on.
func TestHTTPSmuggling(t *testing.T) {
	p := newProxy(t, Config{})
	addr, heads := serveWire(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	for _, lines := range []string{
		"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "Content-Length: 3, 4\r\n\r\nabcd", "Content-Length: +3\r\n\r\nabc", "Content-Length: 0x3\r\n\r\nabc", "Content-Length: -1\r\n\r\n",
		"Content-Length:\r\n\r\n", "Content-Length: 99999999999999999999\r\n\r\n", "Content-Length : 3\r\n\r\nabc", " Content-Length: 3\r\n\r\nabc", "A: b\r\n Content-Length: 3\r\n\r\nabc",
		"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding:\r\n\r\n0\r\n\r\n", "Transfer-Encoding\r\n\r\n", "Host: y\r\n\r\n", "A b: c\r\n\r\n", ": c\r\n\r\n", "\x00A: c\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3;a=\rb\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\n\r\n",
	} {
		got := p.exchange(t, "POST http://"+addr+"/ HTTP/1.1\r\nHost: x\r\n"+lines, 1)
		if !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%q: answer %q", lines, got)
		}
	}
	select {
	case head := <-heads:
		t.Errorf("the server got %q", head)
	default:
	}
	for start, want := range map[string]string{
		"GET  http://x/ HTTP/1.1": "400", "GET http://x/ y HTTP/1.1": "400", "GET http://x/\x01 HTTP/1.1": "400", "GET http://x/": "400", "GET http://x/ HTTP/2.0": "505", "G@T http://x/ HTTP/1.1": "400", "GET http://x/ HTTP/1.1 ": "400",
	} {
		if got := p.exchange(t, start+"\r\nHost: x\r\n\r\n", 1); !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%q: answer %q, want %s", start, got, want)
		}
	}
	// A length beside chunks is left out, and no further request is read after such a
	// message.
	got := p.exchange(t, "POST http://"+addr+"/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://"+addr+"/2 HTTP/1.1\r\nHost: x\r\n\r\n", 1)
	if !strings.HasPrefix(got, "HTTP/1.1 200") || strings.Count(got, "HTTP/1.1 ") != 1 {
		t.Errorf("answer %q", got)
	}
	if head := <-heads; strings.Contains(head, "Content-Length") || !strings.Contains(head, "Connection: close\r\n") || !strings.Contains(head, "Transfer-Encoding: chunked\r\n") {
		t.Errorf("the server got %q", head)
	}
}

// Responses arrive as they were sent, even if only lenient clients understand them.
func TestHTTPResponsesAreNotRewritten(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
	}{
		{"no type is invented", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"},
		{"nor a date", "HTTP/1.1 404\r\nx-B: 1\r\nX-a:2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404\r\nx-B: 1\r\nX-a: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"},
		{"ICY", "ICY 200 OK\r\nicy-name: radio\r\n\r\nmusic", "HTTP/1.1 200 OK\r\nicy-name: radio\r\nConnection: close\r\n\r\nmusic"},
		{"a line that is not a field", "HTTP/1.1 200 OK\r\nthis is none\r\nA: b\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok"},
		{"a control byte", "HTTP/1.1 200 OK\r\nA: b\x01\x7fc\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nA: b\x01\x7fc\r\nContent-Length: 2\r\n\r\nok"},
		{"a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nA: b c\r\nContent-Length: 2\r\n\r\nok"},
		{"LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"a long header", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 300<<10) + "\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 300<<10) + "\r\nContent-Length: 2\r\n\r\nok"},
		{"chunks as they are", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n"},
		{"a length beside chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"hop by hop", "HTTP/1.1 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"early hints", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"no content", "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, heads := serveWire(t, tt.answer)
			got := newProxy(t, Config{}).exchange(t, "GET http://"+addr+"/ HTTP/1.1\r\nHost: x\r\n\r\n", 1)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			<-heads
		})
	}
}

// If a server is at fault, the answer and the log say so, with the cause.
func TestHTTPServerFaults(t *testing.T) {
	for _, tt := range []struct{ name, answer, want, cause string }{
		{"nothing", "", "502", "without an answer"},
		{"half a header", "HTTP/1.1 200 OK\r\nA", "502", "unexpected EOF"},
		{"another protocol", "SSH-2.0-x\r\n\r\n", "502", "the status line"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "502", "Content-Length"},
		{"too long", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 2<<20), "502", "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dest := serveTCP(t, func(c *net.TCPConn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, tt.answer)
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			})
			p := newProxy(t, Config{})
			got := p.exchange(t, "GET http://"+dest.String()+"/ HTTP/1.1\r\nHost: x\r\n\r\n", 1)
			if !strings.HasPrefix(got, "HTTP/1.1 "+tt.want) || !strings.Contains(got, tt.cause) {
				t.Errorf("answer %q", got)
			}
			if e := p.wait(t); e.err == nil || !strings.Contains(e.err.Error(), tt.cause) {
				t.Errorf("ended with %v", e.err)
			}
		})
	}
}

// A server may close a kept connection at any time.
func TestHTTPKeptConnectionCloses(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			var conns atomic.Int32
			closed := make(chan struct{}, 10)
			dest := serveTCP(t, func(c *net.TCPConn) {
				conns.Add(1)
				br := bufio.NewReader(c)
				req, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				if conns.Load() == 1 {
					_, _ = http.ReadRequest(br) // reads the request, but sends no answer
				}
				_ = c.Close()
				closed <- struct{}{}
			})
			client := newProxy(t, Config{}).client(t, nil)
			for range 2 {
				// Like a browser, net/http sends a request again if a kept connection
				// closes without an answer.
				req, err := http.NewRequest(method, "http://"+dest.String()+"/", strings.NewReader("data"))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Idempotency-Key", "1")
				if method == "GET" {
					req.Body, req.ContentLength = nil, 0
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 || string(body) != "ok" || err != nil {
					t.Errorf("status %d, %q, %v", resp.StatusCode, body, err)
				}
			}
			if n := conns.Load(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

// Bytes that a server has sent arrive at once. It also arrives if the server then
// breaks off.
func TestHTTPStreams(t *testing.T) {
	for _, framing := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked", "A: b"} {
		for _, resets := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, resets %v", framing, resets), func(t *testing.T) {
				got := make(chan struct{})
				dest := serveTCP(t, func(c *net.TCPConn) {
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing+"\r\n\r\n")
					for _, piece := range []string{"4\r\nabcd\r\n", "3\r\nefg\r\n"} {
						_, _ = io.WriteString(c, piece)
						<-got // without the data, this waits for ever
					}
					if resets {
						reset(c)
					}
				})
				c := newProxy(t, Config{}).dial(t)
				if _, err := fmt.Fprintf(c, "GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", dest); err != nil {
					t.Fatal(err)
				}
				resp := make([]byte, 0, 1000)
				for _, piece := range []string{"4\r\nabcd\r\n", "3\r\nefg\r\n"} {
					for !bytes.HasSuffix(resp, []byte(piece)) {
						n, err := c.Read(resp[len(resp):cap(resp)])
						if resp = resp[:len(resp)+n]; err != nil {
							t.Fatalf("%q, %v", resp, err)
						}
					}
					got <- struct{}{}
				}
				_, err := c.Read(make([]byte, 1))
				if want := resets && framing == "A: b"; errors.Is(err, syscall.ECONNRESET) != want {
					t.Errorf("then %v; want a reset: %v", err, want)
				}
			})
		}
	}
}

// An HTTP/1.0 client does not understand chunks, and keeps connections only if told so.
func TestHTTP10(t *testing.T) {
	p := newProxy(t, Config{})
	addr, _ := serveWire(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n")
	if got := p.exchange(t, "GET http://"+addr+"/ HTTP/1.0\r\n\r\n", 1); got != "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde" {
		t.Errorf("got %q", got)
	}
	addr, _ = serveWire(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	get := "GET http://" + addr + "/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
	want := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
	if got := p.exchange(t, get+get, 1); got != want+want {
		t.Errorf("got %q", got)
	}
}

// The proxy itself answers a request whose Max-Forwards is 0.
func TestMaxForwards(t *testing.T) {
	p := newProxy(t, Config{})
	for method, want := range map[string]string{
		"OPTIONS": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"TRACE":   "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: 68\r\n\r\nTRACE http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nA: b\r\n\r\n",
	} {
		if got := p.exchange(t, method+" http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nCookie: secret\r\nA: b\r\n\r\n", 1); got != want {
			t.Errorf("%s: got %q", method, got)
		}
	}
}
