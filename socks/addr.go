package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// Addr is a destination: a name or an IP address, and a port.
type Addr struct {
	Host string // IP addresses as netip.Addr writes them, without brackets
	Port uint16
}

// String has the form host:port, with an IPv6 address in brackets.
func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// IP returns Host as an address. The result is not valid if Host is a name.
func (a Addr) IP() netip.Addr {
	ip, err := netip.ParseAddr(a.Host)
	if err != nil {
		return netip.Addr{}
	}
	return ip
}

func addrOf(ap netip.AddrPort) Addr {
	return Addr{Host: ap.Addr().Unmap().String(), Port: ap.Port()}
}

// maxName is the length of the longest name that SOCKS 5 can carry and that DNS can
// resolve.
const maxName = 255

var errBadName = errors.New("not a host name")

// parseHost checks a host: a name, or an address. Many clients send an address where
// the protocol has a name, so parseHost takes both. It only makes sure that a name
// cannot be mistaken for something else; the resolver decides whether the name is
// valid. An address with a zone is refused, because rules name networks without a zone.
func parseHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return "", fmt.Errorf("%w: address with a zone", errBadName)
		}
		return ip.Unmap().String(), nil
	}
	if host == "" || len(host) > maxName {
		return "", fmt.Errorf("%w: %d bytes", errBadName, len(host))
	}
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c >= 0x80:
		default:
			return "", fmt.Errorf("%w: character %q", errBadName, c)
		}
	}
	return host, nil
}

// readAddr reads an address type, an address and a port (RFC 1928 section 5). An
// unknown address type gives an *Error.
func readAddr(r io.Reader) (Addr, error) {
	var b [maxName + 2]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return Addr{}, err
	}
	var n int
	t := AddrType(b[0])
	switch t {
	case AddrIPv4:
		n = net.IPv4len
	case AddrIPv6:
		n = net.IPv6len
	case AddrName:
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return Addr{}, noEOF(err)
		}
		n = int(b[0])
	default:
		return Addr{}, &Error{Reply: AddressTypeNotSupported, Err: fmt.Errorf("%v", t)}
	}
	if _, err := io.ReadFull(r, b[:n+2]); err != nil {
		return Addr{}, noEOF(err)
	}
	a := Addr{Port: binary.BigEndian.Uint16(b[n:])}
	if t != AddrName {
		ip, _ := netip.AddrFromSlice(b[:n])
		a.Host = ip.Unmap().String()
		return a, nil
	}
	var err error
	if a.Host, err = parseHost(string(b[:n])); err != nil {
		return Addr{}, &Error{Reply: HostUnreachable, Err: err}
	}
	return a, nil
}

// noEOF turns io.EOF, which stands for an orderly end, into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // as io.ReadFull compares
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendAddr appends an address in the form that readAddr reads. An invalid address is
// written as 0.0.0.0:0.
func appendAddr(b []byte, ap netip.AddrPort) []byte {
	ip := ap.Addr().Unmap()
	switch {
	case ip.Is6():
		b = append(b, byte(AddrIPv6))
	default:
		if !ip.IsValid() {
			ip = netip.IPv4Unspecified()
		}
		b = append(b, byte(AddrIPv4))
	}
	b = append(b, ip.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, ap.Port())
}

// addrPort returns the IP address and port of a. The result is invalid if a has none.
func addrPort(a net.Addr) netip.AddrPort {
	p, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	ap := p.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
