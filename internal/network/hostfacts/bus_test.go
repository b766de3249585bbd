package hostfacts

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/socket-intents/mamma/internal/process/systembus"
)

// Messages of processes that are not followed are not read, whatever they send.
func TestAdmit(t *testing.T) {
	b := &bus{owners: map[string]*owner{nmName: {unique: ":1.7"}, mmName: {}, loginName: {unique: ":1.9"}}, curious: func(name string) bool { return name != loginName }}
	for _, tt := range []struct {
		h    systembus.Header
		want bool
	}{
		{systembus.Header{Kind: dbus.TypeSignal, Sender: ":1.7"}, true},
		{systembus.Header{Kind: dbus.TypeSignal, Sender: busName}, true},
		{systembus.Header{Kind: dbus.TypeSignal, Sender: ":1.8"}, false},
		{systembus.Header{Kind: dbus.TypeSignal}, false},
		{systembus.Header{Kind: dbus.TypeSignal, Sender: nmName}, false},
		{systembus.Header{Kind: dbus.TypeMethodCall, Sender: ":1.7"}, false},
		{systembus.Header{Kind: dbus.TypeMethodCall, Sender: busName}, false},
		{systembus.Header{Kind: 9, Sender: busName}, false},
		{systembus.Header{Kind: dbus.TypeMethodReply, Sender: ":1.8"}, true},
		{systembus.Header{Kind: dbus.TypeError, Sender: busName}, true},
		{systembus.Header{Kind: dbus.TypeMethodReply}, true},
		// Of this one no signal would tell anything.
		{systembus.Header{Kind: dbus.TypeSignal, Sender: ":1.9"}, false},
		{systembus.Header{Kind: dbus.TypeMethodReply, Sender: ":1.9"}, true},
	} {
		if got := b.admit(tt.h); got != tt.want {
			t.Errorf("%+v: %v", tt.h, got)
		}
	}
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
		if err != nil || len(nm.links) > maxObjects || len(nm.paths) > 4*maxObjects+1 {
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
					t.Fatalf("%+v cannot be shown", fact)
				}
			}
		}
	})
}

// answer encodes a reply with properties.
func answer(t testing.TB, values map[string]any) []byte {
	t.Helper()
	p := map[string]dbus.Variant{}
	for name, v := range values {
		p[name] = dbus.MakeVariant(v)
	}
	m := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(p)),
	}, Body: []any{p}}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:], 7) // a message without a number is not valid
	return b.Bytes()
}
