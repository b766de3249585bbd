package mptcp

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// recorded are events as Linux 6.18 sends them.
var recorded = []struct {
	name    string
	command uint8
	data    string
	want    Event
}{
	{
		"created", 1,
		"0800 0100 44332211" + "0500 1200 00000000" + "0600 0200 0200 0000" + "0800 0500 0a010002" + "0800 0700 c0000201" + "0600 0900 b3d8 0000" + "0600 0a00 0050 0000",
		Event{Type: Created, Token: 0x11223344, Local: ap("10.1.0.2:46040"), Remote: ap("192.0.2.1:80")},
	},
	{
		"established, server, IPv6, no joins", 2,
		"0800 0100 01000000" + "0500 1200 01000000" + "0600 0d00 0300 0000" + "0600 0200 0a00 0000" + "1400 0600 20010db8000000000000000000000001" +
			"1400 0800 20010db8000000000000000000000002" + "0600 0900 0050 0000" + "0600 0a00 b3d8 0000",
		Event{Type: Established, Token: 1, Local: ap("[2001:db8::1]:80"), Remote: ap("[2001:db8::2]:46040"), Server: true, DenyJoin: true},
	},
	{"closed", 3, "0800 0100 44332211", Event{Type: Closed, Token: 0x11223344}},
	{
		"announced", 6, "0800 0100 01000000" + "0500 0400 02000000" + "0600 0200 0200 0000" + "0800 0700 c0000202" + "0600 0a00 0000 0000",
		Event{Type: Announced, Token: 1, RemoteID: 2, Remote: ap("192.0.2.2:0")},
	},
	{"removed", 7, "0800 0100 01000000" + "0500 0400 02000000", Event{Type: Removed, Token: 1, RemoteID: 2}},
	{
		"subflow closed", 11,
		"0800 0100 01000000" + "0600 0200 0200 0000" + "0800 0500 0a020002" + "0800 0700 c0000201" + "0600 0900 b3d8 0000" + "0600 0a00 0050 0000" +
			"0500 0300 01000000" + "0500 0400 00000000" + "0500 0b00 01000000" + "0800 0f00 03000000" + "0500 0c00 6f000000",
		Event{
			Type: SubflowClosed, Token: 1, LocalID: 1, Local: ap("10.2.0.2:46040"), Remote: ap("192.0.2.1:80"),
			Backup: true, Index: 3, Error: uint8(unix.ECONNREFUSED),
		},
	},
	{"something new", 99, "0800 0100 01000000 0800 7700 01000000", Event{Type: 99, Token: 1}},
}

func TestDecodeEvent(t *testing.T) {
	for _, tt := range recorded {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeEvent(tt.command, hexed(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, comparer); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	for _, bad := range []string{"0800", "0600 0100 0100 0000", "0800 0100", "0700 0500 0a0100 00", "0500 0900 50000000", "0500 0600 20000000"} {
		if e, err := decodeEvent(1, hexed(bad)); err == nil {
			t.Errorf("%s: %+v", bad, e)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, r := range recorded {
		f.Add(r.command, hexed(r.data))
	}
	f.Fuzz(func(t *testing.T, command uint8, data []byte) {
		e, err := decodeEvent(command, data)
		if err != nil {
			return
		}
		again, err := decodeEvent(command, encodeEvent(t, e))
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if diff := cmp.Diff(e, again, comparer); diff != "" {
			t.Errorf("does not encode back to itself (-want +got)\n%s", diff)
		}
	})
}

// encodeEvent writes an event as the kernel does.
func encodeEvent(t *testing.T, e Event) []byte {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(evToken, uint32(e.Token))
	ae.Uint8(evLocalID, e.LocalID)
	ae.Uint8(evRemoteID, e.RemoteID)
	for _, side := range []struct {
		a          netip.AddrPort
		four, port uint16
	}{{e.Local, evSource4, evSourceP}, {e.Remote, evDest4, evDestP}} {
		if !side.a.IsValid() {
			continue
		}
		kind := side.four
		if side.a.Addr().Is6() {
			kind++
		}
		ae.Bytes(kind, side.a.Addr().AsSlice())
		ae.Bytes(side.port, []byte{byte(side.a.Port() >> 8), byte(side.a.Port())})
	}
	if e.Backup {
		ae.Uint8(evBackup, 1)
	}
	ae.Uint8(evError, e.Error)
	ae.Int32(evIndex, int32(e.Index))
	var flags uint16
	if e.DenyJoin {
		flags |= evFlagDenyJoin
	}
	if e.Server {
		flags |= evFlagServer
	}
	ae.Uint16(evFlags, flags)
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Events that cannot be decoded are skipped. The others are passed on in order.
func TestListener(t *testing.T) {
	sent := false
	l := &Listener{genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		if sent {
			return nil, errors.New("the kernel is gone")
		}
		sent = true
		return []genetlink.Message{
			{Header: genetlink.Header{Command: 1}, Data: hexed(recorded[0].data)},
			{Header: genetlink.Header{Command: 1}, Data: hexed("0600 0100 0100 0000")},
			{Header: genetlink.Header{Command: 3}, Data: hexed(recorded[2].data)},
		}, nil
	})}
	defer func() { _ = l.Close() }()
	var got []Event
	if err := l.Run(context.Background(), func(e Event) { got = append(got, e) }, nil); err == nil {
		t.Error("Run ended without error")
	}
	if diff := cmp.Diff([]Event{recorded[0].want, recorded[2].want}, got, comparer); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
