package client

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// A read that is interrupted has read nothing, not less than that, and goes on later.
func TestInterruptedReads(t *testing.T) {
	// recvmsg(2) has -1 with an error only after it has waited for data.
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	source := &pageReader{nc: near}
	r := wire.NewReader(source)
	b, err := (&wire.Message{Action: wire.ActionConnectResponse}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	for part := range b { // interrupted before each byte
		_ = near.SetReadDeadline(time.Unix(1, 0))
		if n, err := source.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		if err := r.Read(&m); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		_ = near.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := far.Write(b[part : part+1]); err != nil {
			t.Fatal(err)
		}
		if part == len(b)-1 {
			break
		}
		// The reader takes the bytes that have come before it is interrupted again.
		_ = near.SetReadDeadline(time.Now().Add(time.Millisecond))
		if err := r.Read(&m); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%v", err)
		}
	}
	if err := r.Read(&m); err != nil || m.Action != wire.ActionConnectResponse {
		t.Errorf("%v, %v", m.Action, err)
	}
	_ = far.Close()
	if n, err := source.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d bytes, %v", n, err)
	}
}
