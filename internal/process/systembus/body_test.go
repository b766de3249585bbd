package systembus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// body encodes values as the library does, with their signature.
func body(t testing.TB, order binary.ByteOrder, values ...any) (signature string, encoded []byte) {
	t.Helper()
	m := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/a")), dbus.FieldInterface: dbus.MakeVariant("a.b"), dbus.FieldMember: dbus.MakeVariant("C"),
	}, Body: values}
	if len(values) > 0 {
		signature = dbus.SignatureOf(values...).String()
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(values...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, order); err != nil {
		t.Fatal(err)
	}
	return signature, b.Bytes()[b.Len()-int(order.Uint32(b.Bytes()[4:])):]
}

// What the library writes is taken as a whole, in both orders of bytes, and not with a byte
// less or more.
func TestFit(t *testing.T) {
	type entry struct {
		A byte
		B string
		C []int64
	}
	for _, values := range [][]any{
		{}, {byte(1)}, {true, "x"}, {int16(1), uint16(2), int32(3), uint32(4), int64(5), uint64(6), 7.5},
		{"text", dbus.ObjectPath("/a/b"), dbus.ParseSignatureMust("a{sv}(ii)")}, {[]byte{1, 2, 3}, []string{"a", ""}},
		{[]entry{{1, "b", []int64{1, 2}}, {}}, []entry{}}, {map[string]dbus.Variant{"a": dbus.MakeVariant(uint32(1)), "b": dbus.MakeVariant([]string{"x"})}},
		{map[dbus.ObjectPath]map[string]map[string]dbus.Variant{"/a": {"i": {"p": dbus.MakeVariant([][]int32{{1}, {}})}}}},
		{dbus.MakeVariant(dbus.MakeVariant(dbus.MakeVariant(byte(1))))}, {[]uint64{}, []bool{true, false}, [][]byte{{}, {1}}},
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			signature, b := body(t, order, values...)
			if !new(Types).fit(order, signature, b) {
				t.Errorf("%q: %v in %v is refused", signature, values, order)
			}
			for n := range b {
				if new(Types).fit(order, signature, b[:n]) {
					t.Errorf("%q: %d of %d bytes are enough", signature, n, len(b))
				}
			}
			if new(Types).fit(order, signature, append(b, 0)) {
				t.Errorf("%q: with another byte behind it", signature)
			}
		}
	}
	for _, signature := range []string{"(", "a", "a{", "a{s", "a{sv", "a{vs}", "a{gs}", "a{s}", "a{sss}", "()", "{sv}", "(i", "i)", "z", "\xff", strings.Repeat("(", 40) + "y" + strings.Repeat(")", 40)} {
		if n := complete([]byte(signature), 0); n == len(signature) {
			t.Errorf("%q is taken for a type", signature)
		}
	}
}

// However many types a peer sends, a bounded number is decoded. Those that were decoded
// before always are.
func TestTypesAreBounded(t *testing.T) {
	types := &Types{}
	known, b := body(t, binary.LittleEndian, []string{"x"})
	if !types.fit(binary.LittleEndian, known, b) {
		t.Fatal("an ordinary type is refused")
	}
	// Empty lists of lists of structures. Two members with twelve types each make 144
	// types, and three depths of lists make three of each.
	decoded, tried := 0, 0
	for depth := 1; depth <= 3; depth++ {
		for _, first := range keys {
			for _, second := range keys {
				tried++
				signature := strings.Repeat("a", depth) + "(" + string(first) + string(second) + ")"
				empty := []byte{0, 0, 0, 0, 0, 0, 0, 0}
				if depth > 1 {
					empty = empty[:4]
				}
				if types.fit(binary.LittleEndian, signature, empty) {
					decoded++
				}
			}
		}
	}
	if decoded != maxTypes-1 {
		t.Errorf("%d of %d types are decoded", decoded, tried)
	}
	if len(types.seen) != maxTypes || !types.fit(binary.LittleEndian, known, b) {
		t.Errorf("%d types are kept, or one that was seen before is refused", len(types.seen))
	}
	if long := strings.Repeat("a", maxSignature) + "y"; new(Types).fit(binary.LittleEndian, long, make([]byte, 4)) {
		t.Error("a type that is too long is decoded")
	}
}

// An answer whose values have too many types is an error for its caller, and the messages
// behind it are read. A signal of that kind is dropped.
func TestTooManyTypes(t *testing.T) {
	basic := []any{byte(0), int16(0), uint16(0), int32(0), uint32(0), int64(0), uint64(0), 0.0, "", dbus.ObjectPath("/")}
	var many []dbus.Variant
	for _, k := range basic {
		for _, v := range basic {
			of := reflect.TypeOf(v)
			for range 3 {
				many = append(many, dbus.MakeVariant(reflect.MakeMap(reflect.MapOf(reflect.TypeOf(k), of)).Interface()))
				of = reflect.SliceOf(of)
			}
		}
	}
	if len(many) <= maxTypes {
		t.Fatalf("%d types are not too many", len(many))
	}
	small := message(t, dbus.TypeMethodReply, ":1.7", "", "x")
	in := bytes.Join([][]byte{message(t, dbus.TypeSignal, ":1.7", "Many", many), message(t, dbus.TypeMethodReply, ":1.7", "", many), small}, nil)
	got, err := read(newFrames(wire{in: bytes.NewReader(in)}, Options{Admit: func(Header) bool { return true }}))
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(got)
	m, err := dbus.DecodeMessage(r)
	if err != nil || m.Type != dbus.TypeError || m.Headers[dbus.FieldErrorName].Value() != Malformed {
		t.Errorf("%v, %v", m, err)
	}
	if m, err = dbus.DecodeMessage(r); err != nil || m.Type != dbus.TypeMethodReply || m.Body[0] != "x" || r.Len() != 0 {
		t.Errorf("%v, %v, %d bytes are left", m, err, r.Len())
	}
}

// Whatever bytes are taken for a body, the library can decode them.
func FuzzBody(f *testing.F) {
	for _, values := range [][]any{{"x", uint32(7)}, {map[string]dbus.Variant{"a": dbus.MakeVariant([]string{"b"})}}, {[]byte{1}, true}} {
		signature, b := body(f, binary.LittleEndian, values...)
		f.Add(signature, b)
	}
	f.Fuzz(func(t *testing.T, signature string, b []byte) {
		if !new(Types).fit(binary.LittleEndian, signature, b) {
			return
		}
		s, err := dbus.ParseSignature(signature)
		if err != nil || len(signature) > 255 {
			return
		}
		m := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/a")), dbus.FieldInterface: dbus.MakeVariant("a.b"), dbus.FieldMember: dbus.MakeVariant("C"),
		}}
		if signature != "" {
			m.Headers[dbus.FieldSignature] = dbus.MakeVariant(s)
		}
		var encoded bytes.Buffer
		if err := m.EncodeTo(&encoded, binary.LittleEndian); err != nil {
			t.Fatal(err)
		}
		raw := append(encoded.Bytes(), b...)
		binary.LittleEndian.PutUint32(raw[4:], uint32(len(b)))
		binary.LittleEndian.PutUint32(raw[8:], 1)
		if _, err := dbus.DecodeMessage(bytes.NewReader(raw)); err != nil && !errors.As(err, new(dbus.InvalidMessageError)) {
			t.Errorf("%q: %v", signature, err)
		}
	})
}
