package hostfacts

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/godbus/dbus/v5"
)

// wire is a connection on which bytes come.
type wire struct {
	net.Conn
	in io.Reader
}

func (w wire) Read(p []byte) (int, error)  { return w.in.Read(p) }
func (w wire) Write(p []byte) (int, error) { return len(p), nil }

// message encodes one.
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
	// A message without a number is not valid.
	binary.LittleEndian.PutUint32(b.Bytes()[8:], 7)
	return b.Bytes()
}

func read(f *frames) ([]byte, error) {
	f.begun = true
	return io.ReadAll(f)
}

// Of what comes, only what is admitted is read, whole and in order.
func TestFrames(t *testing.T) {
	good, other := message(t, dbus.TypeSignal, ":1.7", "Good", "x", uint32(7)), message(t, dbus.TypeSignal, ":1.8", "Other", map[string]dbus.Variant{"a": dbus.MakeVariant(1)})
	large := message(t, dbus.TypeSignal, ":1.7", "Large", make([]byte, maxMessage))
	nearly := message(t, dbus.TypeSignal, ":1.7", "Nearly", make([]byte, maxMessage-1000))
	anonymous := message(t, dbus.TypeSignal, "", "Anonymous")
	empty := message(t, dbus.TypeSignal, ":1.7", "Empty")
	var in, want bytes.Buffer
	for _, m := range [][]byte{other, good, large, empty, anonymous, other, nearly, good, other} {
		in.Write(m)
	}
	for _, m := range [][]byte{good, empty, nearly, good} {
		want.Write(m)
	}
	got, err := read(newFrames(wire{in: &in}, func(h header) bool {
		return h.kind == dbus.TypeSignal && h.sender == ":1.7" && h.member != ""
	}))
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes, want %d; %v", len(got), want.Len(), err)
	}
	// The library takes what is left for messages.
	if m, err := dbus.DecodeMessage(bytes.NewReader(got)); err != nil || m.Body[0] != "x" {
		t.Errorf("%v, %v", m, err)
	}
}

// Before the authentication is over, all lines pass.
func TestLinesPass(t *testing.T) {
	good := message(t, dbus.TypeSignal, ":1.7", "Good")
	f := newFrames(wire{in: io.MultiReader(bytes.NewBufferString("OK 1234\r\n"), bytes.NewReader(good))}, func(header) bool { return true })
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

// Headers that are no headers keep their messages out, and only these.
func TestBrokenHeaders(t *testing.T) {
	good := message(t, dbus.TypeSignal, ":1.7", "Good")
	length := int(binary.LittleEndian.Uint32(good[12:]))
	for at := fixedHeader; at < fixedHeader+length; at++ {
		broken := bytes.Clone(good)
		broken[at] ^= 0xff
		got, err := read(newFrames(wire{in: bytes.NewReader(append(broken, good...))}, func(h header) bool { return h.sender == ":1.7" && h.member == "Good" }))
		if err != nil || !bytes.HasSuffix(got, good) || len(got) != len(good) && len(got) != 2*len(good) {
			t.Fatalf("byte %d: %d bytes, %v", at, len(got), err)
		}
	}
	if _, err := read(newFrames(wire{in: bytes.NewReader(append([]byte("x"), good...))}, func(header) bool { return true })); !errors.Is(err, errFrame) {
		t.Errorf("another protocol: %v", err)
	}
	fields := bytes.Clone(good)
	binary.LittleEndian.PutUint32(fields[12:], 1<<31)
	if got, err := read(newFrames(wire{in: bytes.NewReader(fields)}, func(header) bool { return true })); len(got) != 0 || !errors.Is(err, io.EOF) && err != nil {
		t.Errorf("a header without end: %d bytes, %v", len(got), err)
	}
}

// Who is not followed is not read, whatever he sends.
func TestAdmit(t *testing.T) {
	b := &bus{owners: map[string]*owner{nmName: {unique: ":1.7"}, mmName: {}}}
	for _, tt := range []struct {
		h    header
		want bool
	}{
		{header{kind: dbus.TypeSignal, sender: ":1.7"}, true},
		{header{kind: dbus.TypeSignal, sender: busName}, true},
		{header{kind: dbus.TypeSignal, sender: ":1.8"}, false},
		{header{kind: dbus.TypeSignal}, false},
		{header{kind: dbus.TypeSignal, sender: nmName}, false},
		{header{kind: dbus.TypeMethodCall, sender: ":1.7"}, false},
		{header{kind: dbus.TypeMethodCall, sender: busName}, false},
		{header{kind: 9, sender: busName}, false},
		{header{kind: dbus.TypeMethodReply, sender: ":1.8"}, true},
		{header{kind: dbus.TypeError, sender: busName}, true},
		{header{kind: dbus.TypeMethodReply}, true},
	} {
		if got := b.admit(tt.h); got != tt.want {
			t.Errorf("%+v: %v", tt.h, got)
		}
	}
}

// Whatever bytes come, only whole messages are read, of bounded size.
func FuzzFrames(f *testing.F) {
	f.Add(message(f, dbus.TypeSignal, ":1.7", "Good", "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _ := read(newFrames(wire{in: bytes.NewReader(data)}, func(h header) bool { return h.sender != ":1.8" }))
		for len(got) > 0 {
			if len(got) < fixedHeader {
				return // the bytes have ended within a message
			}
			var fixed [fixedHeader]byte
			copy(fixed[:], got)
			_, fields, body, err := lengths(&fixed)
			if err != nil || fixedHeader+fields+body > maxMessage {
				t.Fatalf("a message of %d and %d bytes, %v", fields, body, err)
			}
			got = got[min(fixedHeader+fields+body, int64(len(got))):]
		}
	})
}

// Whatever a service answers, what is taken in is bounded and can be shown.
func FuzzAnswers(f *testing.F) {
	f.Add(answer(f, laptop()[dev1+" "+nmDevice]))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := dbus.DecodeMessage(bytes.NewReader(data))
		if err != nil || len(m.Body) != 1 {
			return
		}
		answered, ok := m.Body[0].(map[string]dbus.Variant)
		if !ok {
			return
		}
		get := func(context.Context, dbus.ObjectPath, string) (props, error) { return answered, nil }
		nm, err := readNM(t.Context(), get, noHardware, nmFacts{})
		if err != nil || len(nm.links) > maxObjects || len(nm.paths) > 3*maxObjects+1 {
			t.Fatalf("%d interfaces, %v", len(nm.links), err)
		}
		dns, err := readResolved(t.Context(), get)
		if err != nil || len(dns) > maxDNS {
			t.Fatalf("%d interfaces with servers, %v", len(dns), err)
		}
		for _, d := range dns {
			if len(d.Servers) > maxServers || len(d.Domains) > maxDomains {
				t.Fatalf("%d servers, %d domains", len(d.Servers), len(d.Domains))
			}
		}
		mm, err := readMM(t.Context(), func(context.Context, dbus.ObjectPath) (map[dbus.ObjectPath]map[string]props, error) {
			return map[dbus.ObjectPath]map[string]props{"/m": {mmModem: answered, mm3GPP: answered}}, nil
		}, get)
		if err != nil || len(mm.modems) > 2*maxObjects {
			t.Fatalf("%d modems, %v", len(mm.modems), err)
		}
		for name, l := range nm.links {
			if m, ok := mm.modems[name]; ok {
				l.Modem = &m
			}
			for _, fact := range append(l.Facts(4), l.Facts(6)...) {
				if len(fact.Value) > 4*maxText || fact.Value != printable(fact.Value) {
					t.Fatalf("%q cannot be shown", fact)
				}
			}
		}
	})
}

// answer is a reply with properties.
func answer(t testing.TB, values map[string]any) []byte {
	t.Helper()
	p := map[string]dbus.Variant{}
	for name, v := range values {
		p[name] = dbus.MakeVariant(v)
	}
	return message(t, dbus.TypeMethodReply, ":1.7", "", p)
}
