package hook

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// event makes a record as the kernel's programs write it.
func event(change func(b []byte)) []byte {
	b := make([]byte, eventSize)
	binary.NativeEndian.PutUint64(b[eventTime:], 12_000_000_000)
	binary.NativeEndian.PutUint64(b[eventCookie:], 77)
	binary.NativeEndian.PutUint64(b[eventGroup:], 4711)
	binary.NativeEndian.PutUint64(b[eventAnswer:], 3)
	binary.NativeEndian.PutUint32(b[eventScope:], 2)
	binary.NativeEndian.PutUint32(b[eventProcess:], 100)
	binary.NativeEndian.PutUint32(b[eventUser:], 1000)
	binary.NativeEndian.PutUint16(b[eventKind:], uint16(Place))
	copy(b[eventCommand:], "curl")
	putAddr(b[eventAddr:], netip.MustParseAddr("192.0.2.1"))
	binary.BigEndian.PutUint16(b[eventPort:], 443)
	b[eventProtocol] = unix.IPPROTO_TCP
	if change != nil {
		change(b)
	}
	return b
}

func TestParseEvent(t *testing.T) {
	e, err := ParseEvent(append(event(nil), 0, 0)) // records are padded
	if err != nil {
		t.Fatal(err)
	}
	want := Event{
		Time: 12_000_000_000, Cookie: 77, Group: 4711, Process: 100, Command: "curl", Answer: 3, Kind: Place,
		Key: Key{Scope: 2, User: 1000, Protocol: TCP, Remote: netip.MustParseAddrPort("192.0.2.1:443")},
	}
	if e != want {
		t.Errorf("%+v, want %+v", e, want)
	}
	e, err = ParseEvent(event(func(b []byte) {
		b[eventVariant] = 255
		b[eventFlags] = eventUsual | eventPort2 | eventAlternate | eventDown
		binary.NativeEndian.PutUint32(b[eventResult:], uint32(math.MaxUint32-uint32(unix.EADDRNOTAVAIL)+1))
		putAddr(b[eventAddr:], netip.MustParseAddr("2001:db8::1"))
	}))
	if err != nil || e.Errno != unix.EADDRNOTAVAIL || !e.Usual || !e.HasPort || !e.Alternate || !e.Down || e.Datagram || e.Aside || e.Variant != 255 || e.Remote.String() != "[2001:db8::1]:443" {
		t.Errorf("%+v, %v", e, err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": event(nil)[:eventSize-1],
		"kind":     event(func(b []byte) { binary.NativeEndian.PutUint16(b[eventKind:], 9) }),
		"protocol": event(func(b []byte) { b[eventProtocol] = 1 }),
		"result":   event(func(b []byte) { binary.NativeEndian.PutUint32(b[eventResult:], 5) }),
		"time":     event(func(b []byte) { binary.NativeEndian.PutUint64(b[eventTime:], 1<<63) }),
	} {
		if e, err := ParseEvent(b); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// A record either becomes a valid event or is refused.
func FuzzParseEvent(f *testing.F) {
	f.Add(event(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err != nil {
			if !errors.Is(err, ErrEvent) {
				t.Fatalf("%v", err)
			}
			return
		}
		if !e.Remote.Addr().IsValid() || e.Remote.Addr().Is4In6() || e.Kind.String() == "" || e.Time < 0 || len(e.Command) > commandSize || strings.ContainsRune(e.Command, 0) {
			t.Fatalf("%+v", e)
		}
		if again, err := ParseEvent(append(b, 1, 2, 3)); err != nil || again != e {
			t.Fatalf("with more behind it: %+v, %v", again, err)
		}
	})
}

// An answer that cannot be carried out is not written to a map.
func TestAnswers(t *testing.T) {
	source := netip.MustParseAddr("192.0.2.7")
	for name, a := range map[string]Answer{
		"none":       {},
		"no source":  {Kind: Place, First: Way{Device: "wlan0"}},
		"anywhere":   {Kind: Place, First: Way{Source: netip.IPv4Unspecified(), Device: "wlan0"}},
		"zone":       {Kind: Place, First: Way{Source: netip.MustParseAddr("fe80::1%wlan0"), Device: "wlan0"}},
		"no device":  {Kind: Place, First: Way{Source: source}},
		"long name":  {Kind: Place, First: Way{Source: source, Device: strings.Repeat("w", unix.IFNAMSIZ)}},
		"other kind": {Kind: 4, First: Way{Source: source, Device: "wlan0"}},
		"network":    {Kind: Place, First: Way{Source: source, Device: "wlan0", Network: MaxNetworks}},
		"alternate":  {Kind: Place, First: Way{Source: source, Device: "wlan0"}, Alternate: Way{Source: source}},
		"families":   {Kind: Place, First: Way{Source: source, Device: "wlan0"}, Alternate: Way{Source: netip.MustParseAddr("2001:db8::7"), Device: "wwan0"}},
	} {
		if b := make([]byte, answerSize); a.encode(b) == nil {
			t.Errorf("%s: % x", name, b)
		}
	}
	for _, a := range []Answer{{Kind: Leave}, {Kind: Refuse}, {Kind: Place, First: Way{Source: source, Device: "wlan0"}, Only: true}} {
		if err := a.encode(make([]byte, answerSize)); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestMemberNames(t *testing.T) {
	nobody := uint32(math.MaxUint32)
	for _, m := range []Member{{Command: strings.Repeat("x", 16)}, {Command: "a\x00b"}, {User: &nobody}} {
		if _, err := m.encode(); err == nil {
			t.Errorf("%+v is taken", m)
		}
	}
}
