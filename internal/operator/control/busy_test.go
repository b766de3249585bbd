package control

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client that finds the socket's queue full waits for a place in it.
func TestFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil { // one place
		t.Fatal(err)
	}
	c := NewClient(path)
	first, err := c.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if nc, err := c.dial(ctx); err == nil {
		_ = nc.Close()
		t.Fatal("there are two places")
	}
	go func() {
		if n, _, err := unix.Accept(fd); err == nil {
			_ = unix.Close(n)
		}
	}()
	second, err := c.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
}
