package socks

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
)

// At the limit, clients without a request make room. Clients that are being served do
// not.
func TestLimit(t *testing.T) {
	echo := serveEcho(t)
	p := newProxy(t, Config{MaxConns: 2})
	served := p.through(t, echo.String())
	silent := p.dial(t)
	if _, err := io.WriteString(silent, "\x05"); err != nil {
		t.Fatal(err)
	}
	third := p.through(t, echo.String())
	if err := p.waitRejected(t); !errors.Is(err, errMadeRoom) {
		t.Errorf("the silent client was rejected with %v", err)
	}
	if n, err := silent.Read(make([]byte, 1)); err == nil {
		t.Errorf("the silent client got %d bytes", n)
	}
	fourth := p.dial(t)
	if err := p.waitRejected(t); !errors.Is(err, errTooMany) {
		t.Errorf("one too many was rejected with %v", err)
	}
	_, _ = fourth.Read(make([]byte, 1))
	for _, c := range []*net.TCPConn{served, third} {
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
}

// failingListener fails for a while, with errors that pass.
type failingListener struct {
	net.Listener
	left atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptErrorsGoBy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fl := &failingListener{Listener: l}
	fl.left.Store(3)
	s := New(Config{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(fl) }()
	p := &testProxy{Server: s, addr: addrPort(l.Addr())}
	if got := p.exchange(t, "\x05\x01\x01", 1); got != "\x05\xff" {
		t.Errorf("got %q", got)
	}
	_ = s.Close()
	if err := <-done; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
}
