package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReaderSplits(t *testing.T) {
	names := []string{"choose2-5-socketchoose-twoidle-req", "crafted-eof-only-req", "connect-v6-resp"}
	var stream []byte
	for _, name := range names {
		stream = append(stream, readCapture(t, name)...)
	}
	for _, test := range []struct {
		name string
		r    io.Reader
	}{
		{"whole", bytes.NewReader(stream)},
		{"one byte each", iotest.OneByteReader(bytes.NewReader(stream))},
		{"halves", iotest.HalfReader(bytes.NewReader(stream))},
		{"error with data", iotest.DataErrReader(bytes.NewReader(stream))},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(test.r)
			var m Message
			for _, name := range names {
				if err := r.Read(&m); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if diff := cmp.Diff(captures[name], m, same); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if r.Buffered() != 0 {
				t.Errorf("%d bytes left", r.Buffered())
			}
			for range 2 {
				if err := r.Read(&m); err != io.EOF {
					t.Errorf("error %v, want EOF", err)
				}
			}
		})
	}
}

func TestReaderEnds(t *testing.T) {
	whole := readCapture(t, "connect-v4-req")
	for n := 1; n < len(whole); n++ {
		var m Message
		if err := NewReader(bytes.NewReader(whole[:n])).Read(&m); err != io.ErrUnexpectedEOF {
			t.Fatalf("after %d bytes: error %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
	}
}

func TestReaderGoesOnAfterBadValue(t *testing.T) {
	stream := append(message(tlv(TagAction, 4, 0, 0, 0), tlv(TagHostname, 'x')), readCapture(t, "connect-v4-req")...)
	r := NewReader(bytes.NewReader(stream))
	var m Message
	err := r.Read(&m)
	if e, ok := errors.AsType[*Error](err); !ok || e.Fatal {
		t.Fatalf("error %v, want one that is not fatal", err)
	}
	if m.Action != ActionSocketConnectRequest {
		t.Errorf("action %v is not that of the bad message", m.Action)
	}
	if err := r.Read(&m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(captures["connect-v4-req"], m, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestReaderGoesOnAfterDeadline also reads a message that is larger than the first buffer.
func TestReaderGoesOnAfterDeadline(t *testing.T) {
	want := Message{HasAction: true, Reason: string(bytes.Repeat([]byte("x"), 10000))}
	b, err := want.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(io.MultiReader(bytes.NewReader(b[:5000]), iotest.ErrReader(os.ErrDeadlineExceeded)))
	var m Message
	if err := r.Read(&m); err != os.ErrDeadlineExceeded {
		t.Fatalf("error %v, want that of the stream", err)
	}
	r.r = bytes.NewReader(b[5000:])
	if err := r.Read(&m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// endless returns unknown TLVs without end.
type endless struct{ tlv []byte }

func (e endless) Read(b []byte) (int, error) { return copy(b, e.tlv), nil }

func TestReaderIsBounded(t *testing.T) {
	r := NewReader(endless{tlv(0x99, 1, 2, 3, 4)})
	var m Message
	err := r.Read(&m)
	if e, ok := errors.AsType[*Error](err); !ok || !e.Fatal || !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want %v", err, ErrTooLong)
	}
	if len(r.buf) > MaxMessage {
		t.Errorf("buffer of %d bytes", len(r.buf))
	}
	if again := r.Read(&m); !errors.Is(again, ErrTooLong) {
		t.Errorf("then %v, want the same error", again)
	}
	r.Reset(bytes.NewReader(readCapture(t, "connect-v4-req")))
	if err := r.Read(&m); err != nil {
		t.Errorf("after Reset: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderNoProgress(t *testing.T) {
	if err := NewReader(stuck{}).Read(new(Message)); err != io.ErrNoProgress {
		t.Errorf("error %v, want %v", err, io.ErrNoProgress)
	}
}
