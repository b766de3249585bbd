package socks

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// These are the sixteen cases of the public SOCKS test suite: CONNECT, BIND and UDP
// ASSOCIATE, with each kind of authentication, with requests one after the other and
// all at once.
func TestSuite(t *testing.T) {
	const rounds = 8
	alice := string(appendString(appendString([]byte{5, 1, 2, 1}, "alice"), "secret"))
	for _, kind := range []struct {
		name, hello, ack string
		auth             Authenticator
		version          byte
	}{
		{name: "SOCKS 4", version: 4},
		{name: "SOCKS 5", version: 5, hello: "\x05\x01\x00", ack: "\x05\x00"},
		{name: "SOCKS 5 with a password", version: 5, hello: alice, ack: "\x05\x02\x01\x00", auth: onlyAlice{}},
	} {
		for _, command := range []Command{CommandConnect, CommandBind, CommandUDPAssociate} {
			if command == CommandUDPAssociate && kind.version == 4 {
				continue
			}
			for _, parallel := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %v, parallel %v", kind.name, command, parallel), func(t *testing.T) {
					s := &suite{p: newProxy(t, Config{AllowBind: true, Auth: kind.auth}), version: kind.version, hello: kind.hello, ack: kind.ack, tcp: serveEcho(t), udp: serveUDPEcho(t, "udp4")}
					one := map[Command]func() error{CommandConnect: s.connect, CommandBind: s.bind, CommandUDPAssociate: s.associate}[command]
					results := make(chan error, rounds)
					for range rounds {
						if parallel {
							go func() { results <- one() }()
						} else {
							results <- one()
						}
					}
					for range rounds {
						if err := <-results; err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

func appendString(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// suite is a client with its destinations.
type suite struct {
	p          *testProxy
	version    byte
	hello, ack string
	tcp, udp   netip.AddrPort
}

// request sends a request and returns the address in the first reply.
func (s *suite) request(command Command, dest netip.AddrPort) (*net.TCPConn, netip.AddrPort, error) {
	c, err := net.Dial("tcp", s.p.addr.String())
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	ip := dest.Addr().As4()
	text := s.hello + "\x05" + string(byte(command)) + "\x00" + socks5Addr(dest)
	if s.version == 4 {
		text = "\x04" + string(byte(command)) + port(dest) + string(ip[:]) + "user\x00"
	}
	if _, err := io.WriteString(c, text); err != nil {
		return nil, netip.AddrPort{}, err
	}
	got := make([]byte, len(s.ack))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != s.ack {
		return nil, netip.AddrPort{}, fmt.Errorf("greeted with %x, %w", got, err)
	}
	at, err := s.reply(c)
	return c.(*net.TCPConn), at, err
}

// reply reads a reply, which must say "succeeded".
func (s *suite) reply(r io.Reader) (netip.AddrPort, error) {
	b := make([]byte, 10)
	n, ok := 10, "\x05\x00\x00\x01"
	if s.version == 4 {
		n, ok = 8, "\x00\x5a"
	}
	if _, err := io.ReadFull(r, b[:n]); err != nil || !strings.HasPrefix(string(b), ok) {
		return netip.AddrPort{}, fmt.Errorf("reply %x, %w", b[:n], err)
	}
	if s.version == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])), nil
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[8])<<8|uint16(b[9])), nil
}

// echo writes to one end of a connection and expects the same from the other end.
func echo(to io.Writer, from io.Reader) error {
	const text = "what goes there comes back"
	if _, err := io.WriteString(to, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(from, got); err != nil || string(got) != text {
		return fmt.Errorf("got %q, %w", got, err)
	}
	return nil
}

func (s *suite) connect() error {
	c, _, err := s.request(CommandConnect, s.tcp)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := echo(c, c); err != nil {
		return err
	}
	_ = c.CloseWrite()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the end: %d bytes, %w", n, err)
	}
	return nil
}

func (s *suite) bind() error {
	c, at, err := s.request(CommandBind, netip.MustParseAddrPort("127.0.0.1:9"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	peer, err := net.Dial("tcp", at.String())
	if err != nil {
		return err
	}
	defer func() { _ = peer.Close() }()
	_ = peer.SetDeadline(time.Now().Add(testTimeout))
	from, err := s.reply(c)
	if want := addrPort(peer.LocalAddr()); err != nil || from != want {
		return fmt.Errorf("second reply: from %v, want %v: %w", from, want, err)
	}
	if err := echo(c, peer); err != nil {
		return err
	}
	return echo(peer, c)
}

func (s *suite) associate() error {
	c, at, err := s.request(CommandUDPAssociate, netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	u, err := net.Dial("udp", at.String())
	if err != nil {
		return err
	}
	defer func() { _ = u.Close() }()
	_ = u.SetDeadline(time.Now().Add(testTimeout))
	datagram := "\x00\x00\x00" + socks5Addr(s.udp) + "a datagram"
	for range 3 {
		if _, err := io.WriteString(u, datagram); err != nil {
			return err
		}
		b := make([]byte, 100)
		n, err := u.Read(b)
		if err != nil || string(b[:n]) != datagram {
			return fmt.Errorf("got %q, %w", b[:n], err)
		}
	}
	return nil
}
