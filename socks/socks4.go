package socks

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

const socks4Version = 4

// readSOCKS4 reads a request of SOCKS 4 or 4a. These protocols have no greeting: the
// request comes first. A request is returned with an error if a reply can tell the
// client of that error.
func readSOCKS4(c *conn, br *bufio.Reader) (*Request, error) {
	r := c.request(SOCKS4)
	if err := readSOCKS4Request(br, r); err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return r, err
		}
		return nil, err
	}
	if c.cfg.Auth != nil {
		return r, fmt.Errorf("%w: SOCKS 4 has no passwords", ErrNotAllowed)
	}
	return r, nil
}

// readSOCKS4Request reads command, destination and user into r.
func readSOCKS4Request(br *bufio.Reader, r *Request) error {
	var b [8]byte
	if _, err := io.ReadFull(br, b[:]); err != nil {
		return noEOF(err)
	}
	if b[0] != socks4Version {
		return fmt.Errorf("%w: version %d", errNotProtocol, b[0])
	}
	r.Command = Command(b[1])
	if r.Command != CommandConnect && r.Command != CommandBind {
		return &Error{Reply: CommandNotSupported, Err: fmt.Errorf("%v", r.Command)}
	}
	ip := netip.AddrFrom4([4]byte(b[4:8]))
	r.Dest = Addr{ip.String(), binary.BigEndian.Uint16(b[2:])}
	var err error
	if r.User, err = readString(br); err != nil {
		return fmt.Errorf("user ID: %w", err)
	}
	// In SOCKS 4a the address 0.0.0.x, with x not zero, says that a name follows.
	if b[4] != 0 || b[5] != 0 || b[6] != 0 || b[7] == 0 {
		return nil
	}
	r.Protocol = SOCKS4a
	host, err := readString(br)
	if err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if r.Dest.Host, err = parseHost(host); err != nil {
		return &Error{Reply: HostUnreachable, Err: err}
	}
	return nil
}

// readString reads a string that ends with a zero byte. SOCKS 4 sets no bound on its
// length; the bound here is that of SOCKS 5.
func readString(br *bufio.Reader) (string, error) {
	var b [maxName]byte
	for n := 0; ; n++ {
		c, err := br.ReadByte()
		switch {
		case err != nil:
			return "", noEOF(err)
		case c == 0:
			return string(b[:n]), nil
		case n == len(b):
			return "", fmt.Errorf("longer than %d bytes", len(b))
		}
		b[n] = c
	}
}

// replySOCKS4 writes a reply. The protocol has no room for an IPv6 address; the client
// gets 0.0.0.0 in its place.
func replySOCKS4(w io.Writer, reply Reply, bound netip.AddrPort, _ error) error {
	b := [8]byte{1: reply.socks4()}
	binary.BigEndian.PutUint16(b[2:], bound.Port())
	if ip := bound.Addr().Unmap(); ip.Is4() {
		copy(b[4:], ip.AsSlice())
	}
	_, err := w.Write(b[:])
	return err
}
