package socks

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// requestText returns the request of ApacheBench, with any HTTP version.
func requestText(version, dest, more string) string {
	return fmt.Sprintf("GET http://%s/ HTTP/%s\r\n%sHost: %s\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n", dest, version, more, dest)
}

const answerText = "HTTP/1.1 200 OK\r\nDate: Tue, 01 Dec 2026 18:00:00 GMT\r\nContent-Length: 15\r\nContent-Type: text/plain; charset=utf-8\r\n\r\na small answer\n"

// serveAnswers gives the same answer to each request, and allocates nothing meanwhile.
func serveAnswers(tb testing.TB) string {
	return serveTCP(tb, func(c *net.TCPConn) {
		answer, buf := []byte(answerText), make([]byte, 4096)
		for n := 0; ; {
			k, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += k; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				n = 0
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}
	}).String()
}

// BenchmarkHTTP measures exchanges of plain HTTP with small answers. The test's own
// client and server take the same time in each run. So compare two versions of the
// proxy; a figure alone says little.
func BenchmarkHTTP(b *testing.B) {
	dest := serveAnswers(b)
	for _, way := range []struct{ name, request string }{
		{"kept", requestText("1.1", dest, "")},
		{"kept, 1.0", requestText("1.0", dest, "Connection: Keep-Alive\r\n")},
		{"one each", requestText("1.1", dest, "Connection: close\r\n")},
		{"one each, 1.0", requestText("1.0", dest, "")},
	} {
		b.Run(way.name, func(b *testing.B) {
			p := newProxy(b, Config{watchAfter: defaultWatchAfter})
			go func() {
				for range p.ended {
				}
			}()
			defer close(p.ended)
			defer func() { _ = p.Close() }()
			dial := func() *net.TCPConn {
				c, err := net.Dial("tcp", p.addr.String())
				if err != nil {
					b.Fatal(err)
				}
				return c.(*net.TCPConn)
			}
			request, answer := []byte(way.request), make([]byte, 4096)
			kept := strings.HasPrefix(way.name, "kept")
			exchange := func(c *net.TCPConn) (n int) {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				for {
					k, err := c.Read(answer[n:])
					n += k
					if err == io.EOF || kept && bytes.HasSuffix(answer[:n], []byte("small answer\n")) {
						return n
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			c := dial()
			defer func() { _ = c.Close() }()
			if n := exchange(c); !bytes.HasSuffix(answer[:n], []byte("a small answer\n")) {
				b.Fatalf("got %q", answer[:n])
			}
			b.ReportAllocs()
			for b.Loop() {
				if !kept {
					_ = c.Close()
					c = dial()
				}
				exchange(c)
			}
		})
	}
}
