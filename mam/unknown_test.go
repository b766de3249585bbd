package mam

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
)

// A client that the kernel tells nothing about is not served, and that is logged.
func TestUnknownClientIsRefused(t *testing.T) {
	var said bytes.Buffer
	s := NewServer(New(Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}))
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close() // after this the kernel tells nothing about the client
	var serving sync.WaitGroup
	s.admit(t.Context(), &serving, c.(*net.UnixConn))
	serving.Wait()
	if n := s.Clients(); n != 0 {
		t.Errorf("%d clients are served", n)
	}
	if !strings.Contains(said.String(), "does not say who it is") {
		t.Errorf("logged: %s", said.String())
	}
}
