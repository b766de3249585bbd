package mam

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

func TestBadRequestsAreAnswered(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	eof := make([]byte, 12)
	for _, tt := range []struct {
		name string
		raw  []byte
		ends bool
	}{
		{name: "nothing but EOF", raw: eof},
		{name: "unknown action", raw: append(tlv(1, 99, 0, 0, 0), eof...)},
		{name: "internal action of the original", raw: append(tlv(1, 6, 0, 0, 0), eof...)},
		{name: "answer as request", raw: append(tlv(1, 1, 0, 0, 0), eof...)},
		{name: "extension not announced", raw: append(tlv(1, 0x40, 0, 0, 0), eof...)},
		{name: "short integer", raw: append(tlv(1, 0, 0), eof...)},
		{name: "address of an unknown family", raw: slices.Concat(tlv(1, 0, 0, 0, 0), tlv(0x25, make([]byte, 16)...), eof)},
		{name: "endless value", raw: []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, ends: true},
		{name: "negative length", raw: []byte{1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}, ends: true},
		{name: "EOF with a length", raw: []byte{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, ends: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := d.dial(t)
			if _, err := c.Write(tt.raw); err != nil {
				t.Fatal(err)
			}
			if tt.ends {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
					t.Errorf("after a broken frame: %v, want the connection closed", err)
				}
				return
			}
			if got := c.read().Action; got != wire.ActionErrorUnknownRequest {
				t.Errorf("answer %v", got)
			}
			if got := c.ask(connectTo("192.0.2.1:80")).Context.BindSuggested; !got.IsValid() {
				t.Error("the connection does not go on")
			}
		})
	}
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

func tlv(tag byte, value ...byte) []byte {
	return append([]byte{tag, 0, 0, 0, byte(len(value)), 0, 0, 0, 0, 0, 0, 0}, value...)
}

// Requests may be split anywhere, and several may be sent at once. The answers come in
// order.
func TestStreamOfRequests(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	c := d.dial(t)
	var all []byte
	const n = 20
	for i := range n {
		req := connectTo(fmt.Sprintf("192.0.2.1:%d", 1000+i))
		var err error
		if all, err = req.Append(all); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for i := range all[:200] {
			_, _ = c.Write(all[i : i+1])
		}
		_, _ = c.Write(all[200:])
	}()
	for i := range n {
		if got := c.read().Context.Remote.AddrPort.Port(); got != uint16(1000+i) {
			t.Fatalf("answer %d is for port %d", i, got)
		}
	}
}

// If an answer does not fit the socket's buffer, the rest is written while the client
// reads.
func TestLargeAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	peer, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	c := &conn{nc: nc.(*net.UnixConn)}
	if c.raw, err = c.nc.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	c.tryWrite = c.writeSome
	want := make([]byte, 4<<20) // more than any socket buffer
	for i := range want {
		want[i] = byte(i / 251)
	}
	for range 2 { // the second time after the client was slow once
		wrote := make(chan error, 1)
		go func() { wrote <- c.write(want) }()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		if !bytes.Equal(got, want) {
			t.Error("something else arrived")
		}
	}
	_ = peer.Close()
	if err := c.write(want); err == nil {
		t.Error("no error although the client has gone")
	}
}
