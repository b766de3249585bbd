package systembus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"
)

// wire is a connection from which in is read.
type wire struct {
	net.Conn
	in io.Reader
}

func (w wire) Read(p []byte) (int, error)  { return w.in.Read(p) }
func (w wire) Write(p []byte) (int, error) { return len(p), nil }

// message returns an encoded message.
func message(t testing.TB, kind dbus.Type, sender, member string, body ...any) []byte {
	t.Helper()
	m := &dbus.Message{Type: kind, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	if sender != "" {
		m.Headers[dbus.FieldSender] = dbus.MakeVariant(sender)
	}
	m.Headers[dbus.FieldPath] = dbus.MakeVariant(dbus.ObjectPath("/a/b"))
	m.Headers[dbus.FieldInterface] = dbus.MakeVariant("a.b")
	if member != "" {
		m.Headers[dbus.FieldMember] = dbus.MakeVariant(member)
	}
	if kind != dbus.TypeSignal && kind != dbus.TypeMethodCall {
		m.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(uint32(1))
	}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	// A message without a serial number is invalid.
	binary.LittleEndian.PutUint32(b.Bytes()[8:], 7)
	return b.Bytes()
}

func read(f *frames) ([]byte, error) {
	f.begun = true
	return io.ReadAll(f)
}

// Only admitted messages are read, completely and in order.
func TestFrames(t *testing.T) {
	good, other := message(t, dbus.TypeSignal, ":1.7", "Good", "x", uint32(7)), message(t, dbus.TypeSignal, ":1.8", "Other", map[string]dbus.Variant{"a": dbus.MakeVariant(1)})
	large := message(t, dbus.TypeSignal, ":1.7", "Large", make([]byte, MaxMessage))
	nearly := message(t, dbus.TypeSignal, ":1.7", "Nearly", make([]byte, MaxMessage-1000))
	anonymous := message(t, dbus.TypeSignal, "", "Anonymous")
	empty := message(t, dbus.TypeSignal, ":1.7", "Empty")
	var in, want bytes.Buffer
	for _, m := range [][]byte{other, good, large, empty, anonymous, other, nearly, good, other} {
		in.Write(m)
	}
	for _, m := range [][]byte{good, empty, nearly, good} {
		want.Write(m)
	}
	got, err := read(newFrames(wire{in: &in}, Options{Admit: func(h Header) bool {
		return h.Kind == dbus.TypeSignal && h.Sender == ":1.7" && h.Member != ""
	}}))
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes, want %d; %v", len(got), want.Len(), err)
	}
	// The library can decode the admitted messages.
	if m, err := dbus.DecodeMessage(bytes.NewReader(got)); err != nil || m.Body[0] != "x" {
		t.Errorf("%v, %v", m, err)
	}
}

// Until the authentication is over, all lines pass.
func TestLinesPass(t *testing.T) {
	good := message(t, dbus.TypeSignal, ":1.7", "Good")
	f := newFrames(wire{in: io.MultiReader(bytes.NewBufferString("OK 1234\r\n"), bytes.NewReader(good))}, Options{Admit: func(Header) bool { return true }})
	line := make([]byte, 9)
	if _, err := io.ReadFull(f, line); err != nil || string(line) != "OK 1234\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := f.Write([]byte("BEGIN\r\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, good) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A message with an invalid header is dropped, and no other message is.
func TestBrokenHeaders(t *testing.T) {
	good := message(t, dbus.TypeSignal, ":1.7", "Good")
	length := int(binary.LittleEndian.Uint32(good[12:]))
	for at := fixedHeader; at < fixedHeader+length; at++ {
		broken := bytes.Clone(good)
		broken[at] ^= 0xff
		got, err := read(newFrames(wire{in: bytes.NewReader(append(broken, good...))}, Options{Admit: func(h Header) bool { return h.Sender == ":1.7" && h.Member == "Good" }}))
		if err != nil || !bytes.HasSuffix(got, good) || len(got) != len(good) && len(got) != 2*len(good) {
			t.Fatalf("byte %d: %d bytes, %v", at, len(got), err)
		}
	}
	if _, err := read(newFrames(wire{in: bytes.NewReader(append([]byte("x"), good...))}, Options{Admit: func(Header) bool { return true }})); !errors.Is(err, ErrFrame) {
		t.Errorf("another protocol: %v", err)
	}
	fields := bytes.Clone(good)
	binary.LittleEndian.PutUint32(fields[12:], 1<<31)
	if got, err := read(newFrames(wire{in: bytes.NewReader(fields)}, Options{Admit: func(Header) bool { return true }})); len(got) != 0 || !errors.Is(err, io.EOF) && err != nil {
		t.Errorf("a header without end: %d bytes, %v", len(got), err)
	}
}

// Method calls are handed on as they came, without their bytes if they are too long.
// They are not decoded with the other messages.
func TestCalls(t *testing.T) {
	short, long := message(t, dbus.TypeMethodCall, ":1.7", "Ask", "x"), message(t, dbus.TypeMethodCall, ":1.8", "Tell", make([]byte, 2*MaxMessage))
	signal := message(t, dbus.TypeSignal, ":1.7", "Good")
	var calls []string
	got, err := read(newFrames(wire{in: bytes.NewReader(slices.Concat(short, signal, long, short))}, Options{
		Admit: func(h Header) bool { return h.Kind == dbus.TypeSignal },
		Call: func(h Header, raw []byte) {
			calls = append(calls, h.Sender+" "+h.Interface+"."+h.Member+" "+h.Path+" "+h.Signature)
			if h.Member == "Ask" != bytes.Equal(raw, short) || h.Member == "Tell" && raw != nil || h.Serial != 7 || h.NoReply {
				t.Errorf("%+v: %d bytes", h, len(raw))
			}
		},
	}))
	if err != nil || !bytes.Equal(got, signal) {
		t.Errorf("%d bytes are left, %v", len(got), err)
	}
	if want := []string{":1.7 a.b.Ask /a/b s", ":1.8 a.b.Tell /a/b ay", ":1.7 a.b.Ask /a/b s"}; !slices.Equal(calls, want) {
		t.Errorf("%q", calls)
	}
}

// Whatever bytes come, only whole messages of bounded size are read.
func FuzzFrames(f *testing.F) {
	f.Add(message(f, dbus.TypeSignal, ":1.7", "Good", "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _ := read(newFrames(wire{in: bytes.NewReader(data)}, Options{Admit: func(h Header) bool { return h.Sender != ":1.8" }}))
		for len(got) > 0 {
			if len(got) < fixedHeader {
				return // the bytes have ended within a message
			}
			var fixed [fixedHeader]byte
			copy(fixed[:], got)
			_, fields, body, err := lengths(&fixed)
			if err != nil || fixedHeader+fields+body > MaxMessage {
				t.Fatalf("a message of %d and %d bytes, %v", fields, body, err)
			}
			got = got[min(fixedHeader+fields+body, int64(len(got))):]
		}
	})
}

// In place of an answer that is too large, its caller gets an error, and the messages
// behind it are read.
func TestTooLargeAnswers(t *testing.T) {
	small, large := message(t, dbus.TypeMethodReply, ":1.7", "", "x"), message(t, dbus.TypeMethodReply, ":1.7", "", make([]byte, MaxMessage))
	unwanted := message(t, dbus.TypeMethodReply, ":1.8", "", make([]byte, MaxMessage))
	got, err := read(newFrames(wire{in: bytes.NewReader(slices.Concat(unwanted, large, small))}, Options{Admit: func(h Header) bool { return h.Sender == ":1.7" }}))
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(got)
	m, err := dbus.DecodeMessage(r)
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != dbus.TypeError || m.Headers[dbus.FieldErrorName].Value() != TooLarge || m.Headers[dbus.FieldReplySerial].Value() != uint32(1) || m.Headers[dbus.FieldSender].Value() != ":1.7" || m.Serial() == 0 {
		t.Errorf("%v", m)
	}
	if m, err = dbus.DecodeMessage(r); err != nil || m.Type != dbus.TypeMethodReply || m.Body[0] != "x" || r.Len() != 0 {
		t.Errorf("%v, %v, %d bytes are left", m, err, r.Len())
	}
}

func TestPath(t *testing.T) {
	for address, want := range map[string]string{
		"": Default, "unix:path=/run/x": "/run/x", "tcp:host=localhost,port=1;unix:guid=7,path=/run/y": "/run/y",
		"unix:abstract=/tmp/x": Default, "unix:path=/run/%41": Default, "path=/x": Default,
	} {
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
		if got := Path(); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}
