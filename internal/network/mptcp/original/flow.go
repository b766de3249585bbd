package original

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
)

// The family (doc/original/daemon.md 14).
const (
	familyName = "MAM_MPTCP"
	groupName  = "MAM_MPTCP"
	version    = 1
)

// Commands.
const (
	cmdInit    = 1 // to the kernel, once
	cmdNewFlow = 2 // from the kernel: a subflow could be opened; to the kernel: open it
	// Number 3, a new interface, is not used: rtnetlink tells the same.
)

// Attributes. Numbers have the byte order of the host, addresses that of the network.
const (
	attrText       = 1
	attrLocal4     = 3
	attrRemote4    = 4
	attrLocalID    = 5
	attrLocalPrio  = 6
	attrRemoteID   = 7
	attrRemotePrio = 8
	attrRemoteBits = 9
	attrRemotePort = 10
	attrLocal6     = 12
	attrRemote6    = 13
	attrIsIPv6     = 14
	attrOK         = 15
	attrInode      = 17
	attrToken      = 18
)

// flow is a subflow that could be opened.
type flow struct {
	local, remote     netip.Addr // both of one family
	localID, remoteID uint8
	// localPrio and remotePrio are not 0 for addresses that should be used last.
	localPrio, remotePrio uint8
	remoteBits            uint8
	remotePort            uint16 // sent back unchanged, in whatever byte order
	// inode is the inode of the connection's socket, which is the ctxino of the
	// client's request (doc/original/wire-protocol.md 4.6).
	inode uint64
	token uint32 // of the connection
}

var (
	errLength = errors.New("wrong length")
	errFamily = errors.New("addresses of two families, or of none")
)

// decodeFlow decodes the attributes of NEWFLOW. All are required except for the peer's
// priority (original: defect, doc/original/daemon.md D24). Unknown attributes are
// ignored.
func decodeFlow(data []byte) (flow, error) {
	f, err := decodeAttributes(data)
	if err != nil {
		return flow{}, fmt.Errorf("decode new flow: %w", err)
	}
	return f, nil
}

func decodeAttributes(data []byte) (f flow, err error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return f, err
	}
	var local, remote [2]netip.Addr // IPv4, IPv6
	six := 0
	seen := map[uint16]bool{}
	for ad.Next() {
		seen[ad.Type()] = true
		switch ad.Type() {
		case attrLocal4:
			ad.Do(func(b []byte) error { return address(&local[0], b, 4) })
		case attrRemote4:
			ad.Do(func(b []byte) error { return address(&remote[0], b, 4) })
		case attrLocal6:
			ad.Do(func(b []byte) error { return address(&local[1], b, 16) })
		case attrRemote6:
			ad.Do(func(b []byte) error { return address(&remote[1], b, 16) })
		case attrIsIPv6:
			six = 1
		case attrLocalID:
			f.localID = ad.Uint8()
		case attrLocalPrio:
			f.localPrio = ad.Uint8()
		case attrRemoteID:
			f.remoteID = ad.Uint8()
		case attrRemotePrio:
			f.remotePrio = ad.Uint8()
		case attrRemoteBits:
			f.remoteBits = ad.Uint8()
		case attrRemotePort:
			f.remotePort = ad.Uint16()
		case attrInode:
			f.inode = ad.Uint64()
		case attrToken:
			f.token = ad.Uint32()
		}
	}
	if err := ad.Err(); err != nil {
		return f, err
	}
	if f.local, f.remote = local[six], remote[six]; !f.local.IsValid() || !f.remote.IsValid() {
		return f, errors.New("an address is missing")
	}
	for _, a := range []uint16{attrLocalID, attrLocalPrio, attrRemoteID, attrRemoteBits, attrRemotePort, attrInode, attrToken} {
		if !seen[a] {
			return f, fmt.Errorf("attribute %d is missing", a)
		}
	}
	return f, nil
}

// address reads an address of the given length.
func address(to *netip.Addr, b []byte, length int) error {
	a, ok := netip.AddrFromSlice(b)
	if !ok || len(b) != length {
		return errLength
	}
	*to = a
	return nil
}

// encodeAccept returns the attributes of the message that accepts the flow, in the
// original's order.
func (f flow) encodeAccept() ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Flag(attrOK, true)
	ae.Uint64(attrInode, f.inode)
	ae.Uint32(attrToken, f.token)
	switch {
	case f.local.Is4() && f.remote.Is4():
		ae.Bytes(attrLocal4, f.local.AsSlice())
		ae.Bytes(attrRemote4, f.remote.AsSlice())
	case f.local.Is6() && f.remote.Is6():
		ae.Bytes(attrLocal6, f.local.AsSlice())
		ae.Bytes(attrRemote6, f.remote.AsSlice())
		ae.Flag(attrIsIPv6, true)
	default:
		return nil, fmt.Errorf("accept flow from %v to %v: %w", f.local, f.remote, errFamily)
	}
	ae.Uint8(attrLocalID, f.localID)
	ae.Uint8(attrLocalPrio, f.localPrio)
	ae.Uint8(attrRemoteID, f.remoteID)
	ae.Uint8(attrRemotePrio, f.remotePrio)
	ae.Uint8(attrRemoteBits, f.remoteBits)
	ae.Uint16(attrRemotePort, f.remotePort)
	return ae.Encode()
}
