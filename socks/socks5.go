package socks

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"syscall"
)

const (
	socks5Version   = 5
	passwordVersion = 1 // RFC 1929
)

var (
	errPassword = errors.New("wrong name or password")
	errNoName   = errors.New("no name and password")
)

// readSOCKS5 negotiates the method and reads the request (RFC 1928 sections 3
// and 4). A request is returned with an error if a reply can tell the client of that
// error.
func readSOCKS5(c *conn, br *bufio.Reader) (*Request, error) {
	m, err := readMethods(br)
	if err != nil {
		return nil, err
	}
	r := c.request(SOCKS5)
	// spared means that the client offers a password and that none is needed.
	spared := c.cfg.Auth == nil && slices.Contains(m, MethodNone) && slices.Contains(m, MethodPassword)
	method := chooseMethod(m, c.cfg.Auth != nil, c.cfg.IgnoreNames || spared && c.cfg.Nameless(r))
	if _, err := c.Write([]byte{socks5Version, byte(method)}); err != nil {
		return nil, err
	}
	switch method {
	case MethodUnacceptable:
		c.farewell()
		return nil, fmt.Errorf("%v among %v", method, m)
	case MethodPassword:
		if err := readPassword(c, br, r); err != nil {
			if spared && (errors.Is(err, errNoName) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)) {
				c.cfg.Hooks.NoName(r)
			}
			return nil, err
		}
	}
	if err := readSOCKS5Request(br, r); err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return r, err
		}
		return nil, err
	}
	return r, nil
}

// readMethods reads the greeting and returns the methods that the client offers.
func readMethods(r io.Reader) ([]Method, error) {
	var b [2 + 255]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return nil, err
	}
	if b[0] != socks5Version {
		return nil, fmt.Errorf("%w: version %d", errNotProtocol, b[0])
	}
	list := b[2 : 2+int(b[1])]
	if _, err := io.ReadFull(r, list); err != nil {
		return nil, noEOF(err)
	}
	m := make([]Method, len(list))
	for i, x := range list {
		m[i] = Method(x)
	}
	return m, nil
}

// chooseMethod prefers a password even where none is needed, because the user name
// may hold intents. Some clients offer a password and have no name to send. Their
// offer looks the same as that of clients that have one; ignore is true for those
// that are known to have none (see Config.Nameless).
func chooseMethod(offered []Method, needed, ignore bool) Method {
	switch {
	case !needed && ignore && slices.Contains(offered, MethodNone):
		return MethodNone
	case slices.Contains(offered, MethodPassword):
		return MethodPassword
	case !needed && slices.Contains(offered, MethodNone):
		return MethodNone
	}
	return MethodUnacceptable
}

// readPassword serves the sub-negotiation of RFC 1929.
func readPassword(c *conn, br *bufio.Reader, r *Request) error {
	user, password, err := readUserPassword(br)
	if err != nil {
		return err
	}
	r.User = user
	status := byte(0)
	if c.cfg.Auth != nil {
		if r.Authenticated = c.s.authenticate(c, user, password); !r.Authenticated {
			status = 1
		}
	}
	if _, err := c.Write([]byte{passwordVersion, status}); err != nil {
		return err
	}
	if status != 0 {
		c.farewell()
		return fmt.Errorf("%w: user %q", errPassword, user)
	}
	return nil
}

// readUserPassword reads version, name and password. RFC 1929 asks for at least one
// byte in each. Empty ones are taken all the same, because clients send them.
func readUserPassword(r io.Reader) (user, password string, err error) {
	var b [1 + 255]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return "", "", noEOF(err)
	}
	if b[0] != passwordVersion {
		return "", "", fmt.Errorf("%w: version %d", errNoName, b[0])
	}
	var text [2]string
	for i := range text {
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return "", "", noEOF(err)
		}
		n := int(b[0])
		if _, err := io.ReadFull(r, b[:n]); err != nil {
			return "", "", noEOF(err)
		}
		text[i] = string(b[:n])
	}
	return text[0], text[1], nil
}

// readSOCKS5Request reads command and destination into r.
func readSOCKS5Request(br io.Reader, r *Request) error {
	var b [3]byte
	if _, err := io.ReadFull(br, b[:]); err != nil {
		return noEOF(err)
	}
	if b[0] != socks5Version {
		return fmt.Errorf("%w: version %d", errNotProtocol, b[0])
	}
	r.Command = Command(b[1]) // b[2] is reserved
	var err error
	r.Dest, err = readAddr(br)
	return noEOF(err)
}

// replySOCKS5 writes a reply (RFC 1928 section 6).
func replySOCKS5(w io.Writer, reply Reply, bound netip.AddrPort, _ error) error {
	b := make([]byte, 0, 22)
	b = append(b, socks5Version, byte(reply), 0)
	_, err := w.Write(appendAddr(b, bound))
	return err
}
