package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Neighbour is an entry of the kernel's table of neighbours (struct ndmsg, rtnetlink(7)).
type Neighbour struct {
	Index    int
	Addr     netip.Addr       // without a zone
	Hardware net.HardwareAddr // nil: not known at the moment
}

const ndMsgLen = 12

// Neighbour asks for the entry of an address on an interface; one that there is none of has
// no link-layer address. The kernel asks nobody for it.
func (k *Kernel) Neighbour(index int, addr netip.Addr) (Neighbour, error) {
	n := Neighbour{Index: index, Addr: addr.Unmap().WithZone("")}
	err := k.exchange(func(b []byte, seq uint32) []byte {
		b = append(b, make([]byte, headerLen+ndMsgLen)...)
		binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETNEIGH)
		binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
		binary.NativeEndian.PutUint32(b[8:], seq)
		b[headerLen] = unix.AF_INET
		if n.Addr.Is6() {
			b[headerLen] = unix.AF_INET6
		}
		binary.NativeEndian.PutUint32(b[headerLen+4:], uint32(index))
		b = appendAttr(b, unix.NDA_DST, n.Addr.AsSlice())
		binary.NativeEndian.PutUint32(b, uint32(len(b)))
		return b
	}, func(m *reply) error {
		got, ok := ParseNeighbour(m.body)
		if !ok || got.Index != index || got.Addr != n.Addr {
			return errMalformed
		}
		n = got
		return nil
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENETDOWN):
		return n, nil // kernels before 5.0 give no single entries
	case err != nil:
		return n, fmt.Errorf("asking for the neighbour %v: %w", addr, err)
	}
	return n, nil
}

// ParseNeighbour reads an entry; false if it is none of IPv4 or IPv6.
func ParseNeighbour(b []byte) (Neighbour, bool) {
	if len(b) < ndMsgLen {
		return Neighbour{}, false
	}
	n := Neighbour{Index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	size := 4
	switch b[0] {
	case unix.AF_INET:
	case unix.AF_INET6:
		size = 16
	default:
		return Neighbour{}, false
	}
	const maxHardware = 32 // MAX_ADDR_LEN
	for b = b[ndMsgLen:]; len(b) >= attrLen; {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if length < attrLen || length > len(b) {
			return Neighbour{}, false
		}
		data := b[attrLen:length]
		switch kind {
		case unix.NDA_DST:
			if len(data) != size {
				return Neighbour{}, false
			}
			n.Addr, _ = netip.AddrFromSlice(data)
		case unix.NDA_LLADDR:
			if len(data) > 0 && len(data) <= maxHardware {
				n.Hardware = append(net.HardwareAddr(nil), data...)
			}
		}
		b = b[min(align(length), len(b)):]
	}
	return n, n.Index > 0 && n.Addr.IsValid()
}
