package mam

import (
	"bytes"
	"slices"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// These requests are ones that the original's library would not send. They are answered
// as the table in doc/original/wire-protocol.md and MAPPING.md say. Each begins with
// the TLVs of a captured connect request.
func TestOddRequests(t *testing.T) {
	raw, _ := capture(t, "connect-v4-req")
	eof := make([]byte, 12)
	body, ok := bytes.CutSuffix(raw, eof)
	if !ok {
		t.Fatal("the capture does not end with EOF")
	}
	const unknown, answered, ended = wire.ActionErrorUnknownRequest, wire.ActionConnectResponse, wire.Action(-1)
	for _, tt := range []struct {
		name string
		raw  []byte
		want wire.Action
	}{
		{"as captured", raw, answered},
		{"an unknown tag", slices.Concat(body, tlv(0x39, 1, 2, 3), eof), answered},
		{"an unknown tag of nothing", slices.Concat(body, tlv(0x39), eof), answered},
		{"a foreign context id", slices.Concat(body, tlv(8, bytes.Repeat([]byte{7}, 16)...), eof), answered},
		{"two requests at once", slices.Concat(raw, raw), answered},
		{"no action", raw[16:], unknown},
		{"EOF with a length", slices.Concat(body, []byte{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7}), ended},
		{"an integer of three bytes", slices.Concat(body, tlv(0x0b, 2, 0, 0), eof), unknown},
		{"an integer of five bytes", slices.Concat(body, tlv(0x0b, 2, 0, 0, 0, 0), eof), unknown},
		{"a string of nothing", slices.Concat(body, tlv(0x21), eof), unknown},
		{"a string without its end", slices.Concat(body, tlv(0x21, 'a', 'b'), eof), unknown},
		{"a short address", slices.Concat(body, tlv(0x25, make([]byte, 8)...), eof), unknown},
		{"an address of another family", slices.Concat(body, tlv(0x25, slices.Concat([]byte{1, 0}, make([]byte, 14))...), eof), unknown},
		{"a short list", slices.Concat(body, tlv(0x24, make([]byte, 20)...), eof), unknown},
		{"more than 16383 bytes", slices.Concat(body, bytes.Repeat(tlv(0x39, make([]byte, 200)...), 100), eof), ended},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, host(sampling), Options{}).dial(t)
			if _, err := c.Write(tt.raw); err != nil && tt.want != ended {
				t.Fatal(err)
			}
			var m wire.Message
			err := c.r.Read(&m)
			switch {
			case tt.want == ended:
				if err == nil {
					t.Errorf("answered %v", m.Action)
				}
			case err != nil || m.Action != tt.want:
				t.Errorf("answered %v (%v), want %v", m.Action, err, tt.want)
			case tt.want == answered && !m.Context.BindSuggested.IsValid():
				t.Error("nothing is suggested")
			}
		})
	}
}
