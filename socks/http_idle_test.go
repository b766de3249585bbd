package socks

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are those of net.Pipe, so that time is virtual.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// answerAll answers each request on a connection, for as long as there are any.
func answerAll(c net.Conn) {
	defer func() { _ = c.Close() }()
	br := bufio.NewReader(c)
	for {
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// A client that sends no further request is let go sooner than one whose server takes
// its time, and one that sends half a header still sooner.
func TestSilentHTTPClients(t *testing.T) {
	const handshake, idle = 10 * time.Second, time.Hour
	for _, tt := range []struct {
		name     string
		requests int
		more     string // what the client sends after its requests
		want     time.Duration
	}{
		{"nothing", 0, "", handshake},
		{"half a first request", 0, "GET http://a/ HTTP/1.1\r\nHo", handshake},
		{"one request", 1, "", httpKeepAlive},
		{"three requests", 3, "", httpKeepAlive},
		{"half a second request", 1, "GET http://a/ HTTP/1.1\r\nHo", handshake},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				s := New(Config{Handshake: handshake, Idle: idle, Dial: func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go answerAll(theirs)
					return ours, nil
				}})
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				c := l.dial()
				br := bufio.NewReader(c)
				for range tt.requests {
					if _, err := io.WriteString(c, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
						t.Fatal(err)
					}
					resp, err := http.ReadResponse(br, nil)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now()
				if tt.more != "" { // a pipe carries empty writes, too
					if _, err := io.WriteString(c, tt.more); err != nil {
						t.Fatal(err)
					}
				}
				if b, err := io.ReadAll(br); err != nil || len(b) > 0 {
					t.Errorf("got %q, %v", b, err)
				}
				if took := time.Since(begun); took != tt.want {
					t.Errorf("let go after %v, want %v", took, tt.want)
				}
				_ = c.Close()
				_ = s.Close()
				if err := <-served; !errors.Is(err, ErrServerClosed) {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}
