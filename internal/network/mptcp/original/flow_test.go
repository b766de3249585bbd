package original

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/netlink"
)

var (
	comparer = cmp.Options{cmp.AllowUnexported(flow{}), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})}

	four = flow{
		local: netip.MustParseAddr("10.1.0.2"), remote: netip.MustParseAddr("192.0.2.1"), localID: 1, remoteID: 2,
		localPrio: 3, remotePrio: 4, remoteBits: 5, remotePort: 0x1234, inode: 50370, token: 0xa1b2c3d4,
	}
	six = func() flow {
		f := four
		f.local, f.remote = netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:1::9")
		return f
	}()
)

// vector is a message that the original sent (policies/testdata/policy-vectors.json, group
// mptcp_newflow_message), without what the library fills in.
type vector struct {
	ID     string
	Inputs struct {
		Family uint16 `json:"family_id"`
		Flow   struct {
			Local      netip.Addr `json:"loc_addr"`
			Remote     netip.Addr `json:"rem_addr"`
			LocalID    uint8      `json:"loc_id"`
			RemoteID   uint8      `json:"rem_id"`
			LocalPrio  uint8      `json:"loc_low_prio"`
			RemotePrio uint8      `json:"rem_low_prio"`
			Bits       uint8      `json:"rem_bitfield"`
			Port       uint16     `json:"rem_port"`
			Inode      string
			Token      string
		}
	}
	Expect struct{ Hex string }
}

func vectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		SchemaVersion int `json:"schema_version"`
		Vectors       []vector
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if file.SchemaVersion != 1 || len(file.Vectors) != 2 {
		t.Fatalf("schema version %d, %d vectors", file.SchemaVersion, len(file.Vectors))
	}
	return file.Vectors
}

func (v vector) flow(t *testing.T) flow {
	t.Helper()
	in := v.Inputs.Flow
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return flow{
		local: in.Local, remote: in.Remote, localID: in.LocalID, remoteID: in.RemoteID, localPrio: in.LocalPrio, remotePrio: in.RemotePrio,
		remoteBits: in.Bits, remotePort: in.Port, inode: number(in.Inode), token: uint32(number(in.Token)),
	}
}

// littleEndian skips the test on a big-endian host, because the messages were recorded on a
// little-endian one.
func littleEndian(t *testing.T) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes are those of a little-endian host: needs one")
	}
}

// The service sends what the original sent, byte for byte.
func TestVectors(t *testing.T) {
	littleEndian(t)
	for _, v := range vectors(t) {
		t.Run(v.ID, func(t *testing.T) {
			k := newKernel(v.Inputs.Family)
			s := k.open(t, &chooser{})
			if err := s.accept(v.flow(t)); err != nil {
				t.Fatal(err)
			}
			sent := k.sent[len(k.sent)-1]
			if sent.Header.Flags != netlink.Request|netlink.Acknowledge {
				t.Errorf("flags %v", sent.Header.Flags)
			}
			// The vector was recorded before the library filled these in.
			sent.Header.Flags, sent.Header.Sequence, sent.Header.PID = 0, 0, 0
			b, err := sent.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b); got != v.Expect.Hex {
				t.Errorf("got  %s\nwant %s", got, v.Expect.Hex)
			}
			// The attributes are the same, so it can be decoded as well.
			got, err := decodeFlow(b[20:])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v.flow(t), got, comparer); diff != "" {
				t.Errorf("decoded (-want +got)\n%s", diff)
			}
		})
	}
}

func TestAcceptOfTwoFamilies(t *testing.T) {
	for _, f := range []flow{{}, {local: four.local}, {local: four.local, remote: six.remote}, {local: six.local, remote: four.remote}} {
		if b, err := f.encodeAccept(); !errors.Is(err, errFamily) {
			t.Errorf("%v to %v: % x, %v", f.local, f.remote, b, err)
		}
	}
}

// attributes encodes a flow as the kernel does. It leaves out one attribute, and lets edit
// add more.
func attributes(t testing.TB, f flow, without uint16, edit func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	put := func(a uint16, value func()) {
		if a != without {
			value()
		}
	}
	local, remote := uint16(attrLocal4), uint16(attrRemote4)
	if f.local.Is6() {
		local, remote = attrLocal6, attrRemote6
		put(attrIsIPv6, func() { ae.Flag(attrIsIPv6, true) })
	}
	put(local, func() { ae.Bytes(local, f.local.AsSlice()) })
	put(remote, func() { ae.Bytes(remote, f.remote.AsSlice()) })
	put(attrLocalID, func() { ae.Uint8(attrLocalID, f.localID) })
	put(attrLocalPrio, func() { ae.Uint8(attrLocalPrio, f.localPrio) })
	put(attrRemoteID, func() { ae.Uint8(attrRemoteID, f.remoteID) })
	put(attrRemotePrio, func() { ae.Uint8(attrRemotePrio, f.remotePrio) })
	put(attrRemoteBits, func() { ae.Uint8(attrRemoteBits, f.remoteBits) })
	put(attrRemotePort, func() { ae.Uint16(attrRemotePort, f.remotePort) })
	put(attrInode, func() { ae.Uint64(attrInode, f.inode) })
	put(attrToken, func() { ae.Uint32(attrToken, f.token) })
	if edit != nil {
		edit(ae)
	}
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeFlow(t *testing.T) {
	silent := four
	silent.remotePrio = 0
	for _, tt := range []struct {
		name string
		data []byte
		want flow
	}{
		{"IPv4", attributes(t, four, 0, nil), four},
		{"IPv6", attributes(t, six, 0, nil), six},
		{"without the peer's priority", attributes(t, four, attrRemotePrio, nil), silent},
		{"something new", attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(99, 1) }), four},
	} {
		got, err := decodeFlow(tt.data)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got, comparer); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}

	bad := map[string][]byte{
		"nothing":                      nil,
		"half a header":                {8, 0},
		"beyond the end":               {40, 0, attrInode, 0, 1, 2, 3, 4},
		"IPv6 with IPv4 addresses":     attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Flag(attrIsIPv6, true) }),
		"IPv6 addresses, not so named": attributes(t, six, attrIsIPv6, nil),
		"IPv4 address of 3 bytes":      attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Bytes(attrLocal4, make([]byte, 3)) }),
		"IPv4 address of 16 bytes":     attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Bytes(attrRemote4, make([]byte, 16)) }),
		"IPv6 address of 4 bytes":      attributes(t, six, 0, func(ae *netlink.AttributeEncoder) { ae.Bytes(attrLocal6, make([]byte, 4)) }),
		"ID of 4 bytes":                attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(attrLocalID, 1) }),
		"inode of 4 bytes":             attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(attrInode, 1) }),
		"token of 8 bytes":             attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Uint64(attrToken, 1) }),
		"port of 1 byte":               attributes(t, four, 0, func(ae *netlink.AttributeEncoder) { ae.Uint8(attrRemotePort, 1) }),
	}
	for _, a := range []uint16{attrLocal4, attrRemote4, attrLocalID, attrLocalPrio, attrRemoteID, attrRemoteBits, attrRemotePort, attrInode, attrToken} {
		bad["without attribute "+strconv.Itoa(int(a))] = attributes(t, four, a, nil)
	}
	for _, a := range []uint16{attrLocal6, attrRemote6} {
		bad["without attribute "+strconv.Itoa(int(a))] = attributes(t, six, a, nil)
	}
	for name, data := range bad {
		if f, err := decodeFlow(data); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func FuzzDecodeFlow(f *testing.F) {
	for _, seed := range []flow{four, six} {
		f.Add(attributes(f, seed, 0, nil))
		f.Add(attributes(f, seed, attrRemotePrio, nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		one, err := decodeFlow(data)
		if err != nil {
			return
		}
		b, err := one.encodeAccept()
		if err != nil {
			t.Fatalf("%+v: %v", one, err)
		}
		again, err := decodeFlow(b)
		if err != nil {
			t.Fatalf("%+v: %v", one, err)
		}
		if diff := cmp.Diff(one, again, comparer); diff != "" {
			t.Errorf("does not encode back to itself (-want +got)\n%s", diff)
		}
	})
}
