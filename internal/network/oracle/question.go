package oracle

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Question is about a packet that a socket of this host would send. If a field other
// than Dst is zero, the socket does not set it.
type Question struct {
	Dst netip.Addr
	Src netip.Addr // the address that the socket is bound to
	// Device is the index of the interface that the socket is bound to
	// (SO_BINDTODEVICE).
	Device   int
	Mark     uint32 // SO_MARK
	User     *uint32
	Protocol uint8  // of IP: unix.IPPROTO_TCP and so on
	Port     uint16 // of the destination
}

// Numbers of linux/rtnetlink.h, and one that x/sys lacks.
const (
	headerLen = unix.SizeofNlMsghdr
	rtMsgLen  = unix.SizeofRtMsg
	attrLen   = unix.SizeofRtAttr
	hopLen    = unix.SizeofRtNexthop
	nextHopID = 30 // RTA_NH_ID

	// attrType masks the flags in an attribute's type (NLA_TYPE_MASK).
	attrType = 1<<14 - 1
)

// appendTo appends the request. With match the kernel shows the route that it found
// (Linux 4.13; IPv6 4.15). Without match it shows what follows from the route: next hop
// and source address.
func (q *Question) appendTo(b []byte, seq uint32, match bool) []byte {
	at := len(b)
	b = append(b, make([]byte, headerLen+rtMsgLen)...)
	h := b[at:]
	binary.NativeEndian.PutUint16(h[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(h[8:], seq)
	m := h[headerLen:]
	dst := q.Dst.Unmap().WithZone("")
	m[0] = unix.AF_INET
	if dst.Is6() {
		m[0] = unix.AF_INET6
	}
	m[1] = byte(dst.BitLen())
	// Without this flag the kernel always says that the table was main.
	flags := uint32(unix.RTM_F_LOOKUP_TABLE)
	if match {
		flags |= unix.RTM_F_FIB_MATCH
	}
	binary.NativeEndian.PutUint32(m[8:], flags)
	b = appendAttr(b, unix.RTA_DST, dst.AsSlice())
	if q.Src.IsValid() {
		b[at+headerLen+2] = byte(dst.BitLen())
		b = appendAttr(b, unix.RTA_SRC, q.Src.Unmap().WithZone("").AsSlice())
	}
	if q.Device != 0 {
		b = appendNumber(b, unix.RTA_OIF, uint32(q.Device))
	}
	if q.Mark != 0 {
		b = appendNumber(b, unix.RTA_MARK, q.Mark)
	}
	if q.User != nil {
		b = appendNumber(b, unix.RTA_UID, *q.User)
	}
	if q.Protocol != 0 {
		b = appendAttr(b, unix.RTA_IP_PROTO, []byte{q.Protocol})
	}
	if q.Port != 0 {
		b = appendAttr(b, unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, q.Port))
	}
	binary.NativeEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

func appendNumber(b []byte, kind uint16, n uint32) []byte {
	return appendAttr(b, kind, binary.NativeEndian.AppendUint32(nil, n))
}

func appendAttr(b []byte, kind uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attrLen+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, align(len(data))-len(data))...)
}

// align rounds up to a multiple of 4, where netlink messages and attributes start.
func align(n int) int { return (n + 3) &^ 3 }
