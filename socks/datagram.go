package socks

import (
	"bytes"
	"errors"
	"net/netip"
)

// datagramHeader is the length of the longest header that this package writes. It has
// two reserved bytes, the fragment number, the address type, an IPv6 address and the
// port.
const datagramHeader = 3 + 1 + 16 + 2

var (
	errFragment      = errors.New("fragment")
	errShortDatagram = errors.New("datagram is too short")
)

// parseDatagram splits a datagram from an association's client into its destination and
// its data (RFC 1928 section 7). A fragment gives errFragment. The RFC makes support of
// fragments optional; a server without it must drop them.
func parseDatagram(b []byte) (Addr, []byte, error) {
	if len(b) < 4 {
		return Addr{}, nil, errShortDatagram
	}
	r := bytes.NewReader(b[3:])
	a, err := readAddr(r)
	if err != nil {
		return Addr{}, nil, err
	}
	if b[2] != 0 {
		return Addr{}, nil, errFragment
	}
	return a, b[len(b)-r.Len():], nil
}

// putDatagramHeader writes the header for a datagram from ap to the end of b. It
// returns the offset at which the header begins.
func putDatagramHeader(b *[datagramHeader]byte, ap netip.AddrPort) int {
	var h [datagramHeader]byte
	n := len(appendAddr(h[:3], ap))
	return len(b) - copy(b[len(b)-n:], h[:n])
}
