package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tlv(t Tag, value ...byte) []byte {
	b := le.AppendUint32(nil, uint32(t))
	b = le.AppendUint64(b, uint64(len(value)))
	return append(b, value...)
}

func message(tlvs ...[]byte) []byte { return bytes.Join(append(tlvs, tlv(TagEOF)), nil) }

// zeros returns n bytes that are zero except the given ones.
func zeros(n int, set map[int]byte) []byte {
	b := make([]byte, n)
	for i, v := range set {
		b[i] = v
	}
	return b
}

// TestBadValues shows that a bad value leads to an error that is not fatal, and that the
// rest of the message is still decoded.
func TestBadValues(t *testing.T) {
	inet := zeros(16, map[int]byte{0: AFInet, 4: 10})
	for _, test := range []struct {
		name  string
		tag   Tag
		value []byte
		want  error
	}{
		{"action short", TagAction, zeros(3, nil), errLength},
		{"int long", TagDomain, zeros(5, nil), errLength},
		{"inode short", TagInode, zeros(4, nil), errLength},
		{"ctxid short", TagContextID, zeros(15, nil), errLength},
		{"socket file long", TagSocketFile, zeros(8, nil), errLength},
		{"string empty", TagHostname, nil, errUnterminated},
		{"string without NUL", TagHostname, []byte("10.77.1.2"), errUnterminated},
		{"string with NUL", TagHostname, []byte("a\x00b\x00"), errNUL},
		{"address short", TagBindRequested, zeros(15, map[int]byte{0: AFInet}), errLength},
		{"IPv6 address short", TagBindRequested, zeros(16, map[int]byte{0: AFInet6}), errLength},
		{"address of another family", TagBindRequested, zeros(110, map[int]byte{0: 1}), errFamily},
		{"addrinfo short", TagHint, zeros(47, nil), errTruncated},
		{"addrinfo without its address", TagHint, zeros(48, map[int]byte{16: 16, 24: 1}), errTruncated},
		{"addrinfo with long address", TagHint, zeros(64, map[int]byte{16: 17, 24: 1}), errTruncated},
		{"addrinfo with huge address", TagHint, zeros(64, map[int]byte{19: 0xff, 24: 1}), errTruncated},
		{"addrinfo with empty address", TagHint, zeros(64, map[int]byte{24: 1}), errLength},
		{"addrinfo without name length", TagHint, zeros(55, map[int]byte{32: 1}), errTruncated},
		{"addrinfo with name length 0", TagHint, zeros(56, map[int]byte{32: 1}), errUnterminated},
		{"addrinfo with long name", TagHint, zeros(57, map[int]byte{32: 1, 48: 2}), errTruncated},
		{"addrinfo with name length -1", TagHint, append(zeros(48, map[int]byte{32: 1}), bytes.Repeat([]byte{0xff}, 9)...), errTruncated},
		{"addrinfo without next", TagHint, zeros(48, map[int]byte{40: 1}), errTruncated},
		{"options short", TagOptionsSuggested, zeros(39, nil), errTruncated},
		{"options without value", TagOptionsSuggested, zeros(43, map[int]byte{8: 1, 16: 4}), errTruncated},
		{"options with huge value", TagOptionsSuggested, zeros(44, map[int]byte{8: 1, 19: 0xff}), errTruncated},
		{"options without next", TagOptionsSuggested, zeros(40, map[int]byte{32: 1}), errTruncated},
		{"features short", TagFeatures, zeros(3, nil), errLength},
		{"wide intents", TagWideIntents, zeros(13, nil), errLength},
		{"alternate short", TagAlternate, zeros(11, nil), errLength},
		{"alternate without address", TagAlternate, zeros(12, map[int]byte{4: 16}), errTruncated},
		{"alternate with short address", TagAlternate, append(zeros(12, map[int]byte{4: 15}), inet...), errLength},
		{"alternate with long device", TagAlternate, zeros(40, map[int]byte{6: 16}), errDevice},
		{"alternate with NUL in device", TagAlternate, zeros(40, map[int]byte{6: 3}), errNUL},
		{"alternate without remotes", TagAlternate, append(zeros(12, map[int]byte{8: 2}), inet...), errLength},
		{"reason", TagReason, []byte("because"), errUnterminated},
		{"decision id short", TagDecisionID, zeros(15, nil), errLength},
		{"outcome short", TagOutcome, zeros(13, nil), errLength},
		{"paths with half an entry", TagPaths, zeros(12, nil), errLength},
		{"flow short", TagFlow, zeros(27, nil), errLength},
		{"flow without addresses", TagFlow, zeros(28, nil), errLength},
		{"flow without its remote", TagFlow, append(zeros(28, nil), inet...), errLength},
		{"transfer short", TagTransfer, zeros(31, nil), errLength},
		{"plain dials short", TagPlainDials, zeros(15, nil), errLength},
		{"only short", TagOnly, zeros(3, nil), errLength},
		{"preference short", TagSelection, zeros(3, nil), errLength},
		{"preference without its name", TagSelection, zeros(6, map[int]byte{2: 3}), errTruncated},
		{"preference with half a second one", TagSelection, zeros(6, map[int]byte{2: 1}), errLength},
		{"preference with a long name", TagSelection, zeros(4+256, map[int]byte{3: 1}), errSelection},
		{"too many preferences", TagSelection, zeros(4*(MaxPreferences+1), nil), errSelection},
		{"origin short", TagOrigin, zeros(9, nil), errLength},
		{"origin without its command", TagOrigin, zeros(12, map[int]byte{8: 3}), errTruncated},
		{"origin with long command", TagOrigin, zeros(300, map[int]byte{9: 1}), errOrigin},
		{"origin with long source", TagOrigin, zeros(10+256, nil), errOrigin},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := message(tlv(TagFD, 3, 0, 0, 0), tlv(test.tag, test.value...), tlv(TagService, '8', '0', 0))
			var got Message
			err := Decode(b, &got)
			if e, ok := errors.AsType[*Error](err); !ok || e.Fatal || e.Tag != test.tag || e.Err != test.want {
				t.Fatalf("error %v, want %v of %v", err, test.want, test.tag)
			}
			want := Message{Context: Context{FD: 3, Service: "80"}}
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestBrokenFrames(t *testing.T) {
	header := func(tag Tag, length int64) []byte {
		return le.AppendUint64(le.AppendUint32(nil, uint32(tag)), uint64(length))
	}
	for _, test := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, io.ErrUnexpectedEOF},
		{"half a header", zeros(11, nil), io.ErrUnexpectedEOF},
		{"no EOF TLV", tlv(TagFD, 1, 2, 3, 4), io.ErrUnexpectedEOF},
		{"EOF TLV with length", header(TagEOF, 1), errLength},
		{"behind the end", append(message(), 0), errTrailing},
		{"huge length", header(TagHostname, 1<<40), ErrTooLong},
		{"length just too large", header(TagHostname, MaxMessage-23), ErrTooLong},
		{"length -1", header(TagHostname, -1), ErrTooLong},
		{"length -12", header(TagHostname, -12), ErrTooLong},
		{"no room for the EOF TLV", message(tlv(0x99, zeros(MaxMessage-24-13, nil)...), tlv(0x99, 1, 2)), ErrTooLong},
		{"no room for one more TLV", message(tlv(0x99, zeros(MaxMessage-24, nil)...), nil, tlv(0x99)), ErrTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Decode(test.b, new(Message))
			if e, ok := errors.AsType[*Error](err); !ok || !e.Fatal || e.Err != test.want {
				t.Errorf("error %v, want fatal %v", err, test.want)
			}
		})
	}
}

func TestTolerance(t *testing.T) {
	option := func(next byte, v byte) []byte {
		return append(zeros(40, map[int]byte{0: 44, 1: 1, 4: 1, 8: 0xa0, 16: 4, 28: 9, 32: next}), v, 0, 0, 0)
	}
	for _, test := range []struct {
		name string
		b    []byte
		want Message
	}{
		{"largest", message(tlv(0x99, zeros(MaxMessage-24, nil)...)), Message{}},
		{"unknown tags", message(tlv(4), tlv(0x28, 1, 2, 3)), Message{}},
		{"action last", message(tlv(TagFD, 3, 0, 0, 0), tlv(TagAction, 4, 0, 0, 0)),
			Message{Action: ActionSocketConnectRequest, HasAction: true, Context: Context{FD: 3}}},
		{"the last one counts", message(tlv(TagService, 'a', 0), tlv(TagOptionsCurrent, option(0, 1)...),
			tlv(TagService, 'b', 0), tlv(TagOptionsCurrent, append(option(1, 2), option(0, 3)...)...)),
			Message{Context: Context{Service: "b", OptionsCurrent: []SockOpt{opt(300, 1, 2), opt(300, 1, 3)}}}},
		{"garbage behind a list", message(tlv(TagOptionsCurrent, append(option(0, 1), 7, 7)...)),
			Message{Context: Context{OptionsCurrent: []SockOpt{opt(300, 1, 1)}}}},
		{"length without value", message(tlv(TagOptionsCurrent, zeros(40, map[int]byte{16: 4})...)),
			Message{Context: Context{OptionsCurrent: []SockOpt{{}}}}},
		{"value without length", message(tlv(TagOptionsCurrent, zeros(40, map[int]byte{8: 4})...)),
			Message{Context: Context{OptionsCurrent: []SockOpt{{}}}}},
		{"long address", message(tlv(TagRemote, zeros(128, map[int]byte{0: AFInet, 3: 80, 4: 10, 7: 1})...)),
			Message{Context: Context{Remote: sa("10.0.0.1:80")}}},
		{"longer extensions", message(tlv(TagNoResolve, 1), tlv(TagFeatures, 2, 0, 0, 0, 9),
			tlv(TagOutcome, zeros(20, map[int]byte{0: 1})...), tlv(TagAlternate, zeros(30, map[int]byte{0: 6})...)),
			Message{NoResolve: true, Features: FeatureReason, Outcome: &Outcome{Candidate: 1}, Alternates: []Alternate{{Protocol: 6}}}},
		{"outcome of an older peer", message(tlv(TagOutcome, zeros(14, map[int]byte{12: 1})...)), Message{Outcome: &Outcome{LocalPort: 1}}},
		{"outcome with half its flags", message(tlv(TagOutcome, zeros(15, map[int]byte{14: 1})...)), Message{Outcome: &Outcome{}}},
		{"no plain dials", message(tlv(TagPlainDials, zeros(16, nil)...)), Message{PlainDials: &PlainDials{}}},
		{"plain dials of a later client", message(tlv(TagPlainDials, zeros(20, map[int]byte{0: 1, 4: 2, 8: 3, 12: 4, 16: 5})...)),
			Message{PlainDials: &PlainDials{Late: 1, LeftAlone: 2, Absent: 3, Failed: 4}}},
		{"only of a later daemon", message(tlv(TagOnly, 3, 0, 0, 1, 7)), Message{Only: OnlyThese | OnlyNone | 1<<24}},
		{"no preferences", message(tlv(TagSelection)), Message{}},
		{"most preferences", message(tlv(TagSelection, zeros(4*MaxPreferences, nil)...)), Message{Selection: make([]Preference, MaxPreferences)}},
		{"preferences of a later client", message(tlv(TagSelection, 9, 0xfd, 1, 0, 'x')), Message{Selection: []Preference{{9, -3, "x"}}}},
		{"origin of nobody", message(tlv(TagOrigin, zeros(10, nil)...)), Message{Origin: &Origin{}}},
		{"longest origin", message(tlv(TagOrigin, append(zeros(10, map[int]byte{8: 255}), bytes.Repeat([]byte{'x'}, 510)...)...)),
			Message{Origin: &Origin{Command: strings.Repeat("x", 255), Source: strings.Repeat("x", 255)}}},
		{"no paths", message(tlv(TagPaths)), Message{}},
		{"members before the action", message(tlv(TagSocketFile, 4, 0, 0, 0), tlv(TagService, 'a', 0), tlv(TagAction, 7, 0, 0, 0)),
			Message{Action: ActionSocketChooseRequest, HasAction: true, Sockets: []SetMember{{FD: 4, Context: Context{Service: "a"}}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got Message
			if err := Decode(test.b, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, same); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestManyMembers(t *testing.T) {
	b := message(bytes.Repeat(tlv(TagSocketFile, 1, 0, 0, 0), 1000))
	var m Message
	if err := Decode(b, &m); !errors.Is(err, errMembers) {
		t.Errorf("error %v, want %v", err, errMembers)
	}
	if len(m.Sockets) != maxMembers {
		t.Errorf("%d sockets, want %d", len(m.Sockets), maxMembers)
	}
}

func FuzzDecode(f *testing.F) {
	for name := range captures {
		f.Add(readCapture(f, name))
	}
	b, err := everything().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(message(tlv(TagPaths, zeros(16, map[int]byte{4: 2})...), tlv(TagOrigin, append(zeros(10, map[int]byte{8: 4}), "curlrule x"...)...)))
	f.Add(message(tlv(TagOutcome, zeros(14, nil)...), tlv(TagOutcome, zeros(16, map[int]byte{14: 1})...)))
	f.Add(message(tlv(TagAlternate, zeros(12, map[int]byte{8: 2})...), tlv(TagSocketFile, 1, 0, 0, 0)))
	f.Add(message(tlv(TagLease, zeros(72, map[int]byte{56: 1, 60: 2})...), tlv(TagLease, zeros(60, map[int]byte{59: 255})...), tlv(TagLeased, zeros(56, map[int]byte{16: 3})...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := everything() // something to leave traces of
		err := Decode(b, m)
		fromStream := everything()
		streamErr := NewReader(bytes.NewReader(b)).Read(fromStream)
		if err == nil && streamErr != nil {
			t.Fatalf("stream: %v", streamErr)
		}
		if e, ok := errors.AsType[*Error](err); ok && e.Fatal {
			return
		}
		if diff := cmp.Diff(m, fromStream, same); diff != "" {
			t.Fatalf("message and stream differ:\n%s", diff)
		}
		first, err := m.Append(nil)
		if errors.Is(err, ErrTooLong) {
			return // a terse message becomes longer once it is complete
		}
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		again := new(Message)
		if err := Decode(first, again); err != nil {
			t.Fatalf("encoded, but cannot be decoded: %v", err)
		}
		if m.Action != ActionSocketChooseRequest && m.Action != ActionSocketChooseExisting {
			m.Sockets = nil // not written
		}
		if m.Action == ActionSocketChooseExisting && len(m.Sockets) > 0 {
			m.Sockets = []SetMember{{FD: m.Sockets[0].FD}}
		}
		m.HasAction = true
		if diff := cmp.Diff(m, again, same); diff != "" {
			t.Fatalf("changed by encoding (-want +got):\n%s", diff)
		}
		second, err := again.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("not a fixed point:\n%x\n%x", first, second)
		}
	})
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  *Error
		want string
	}{
		{&Error{Tag: TagHostname, Err: errNUL}, "bad remote_hostname: string with NUL inside"},
		{&Error{Tag: 0x99, Fatal: true, Err: ErrTooLong}, "broken frame at tag(0x99): message longer than 16383 bytes"},
	} {
		if got := test.err.Error(); !strings.Contains(got, test.want) {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
