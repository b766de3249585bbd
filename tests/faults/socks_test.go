package faults

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// startProxy starts muacsocksd, which need not have a manager, and returns the address at
// which it listens.
func startProxy(t *testing.T, conf string) (p *stage.Process, address string) {
	t.Helper()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "socks.conf"), "listen = [\"127.0.0.1:0\"]\n"+conf)
	p = stage.Launch(t, nil, exec.Command(filepath.Join(bin, "muacsocksd"), "--socket", filepath.Join(dir, "none"), "--config", file))
	p.Log.Await(t, "msg=listening", 1)
	return p, regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(p.Log.String())[1]
}

// toService5 is what a SOCKS 5 client sends for a connection to an IPv4 address.
func toService5(to netip.AddrPort) []byte {
	a := to.Addr().As4()
	b := append([]byte{5, 1, 0, 5, 1, 0, 1}, a[:]...)
	return append(b, byte(to.Port()>>8), byte(to.Port()))
}

// proxied connects to the service through the proxy, and reads the service's byte.
func proxied(proxy string, question []byte) error {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(stage.Patience))
	if _, err := c.Write(question); err != nil {
		return err
	}
	answer := make([]byte, 2+10+1) // method, reply, and the service's byte
	if _, err := io.ReadFull(c, answer); err != nil {
		return fmt.Errorf("after %x: %w", answer, err)
	}
	if !bytes.HasPrefix(answer, []byte{5, 0, 5, 0}) || answer[12] != '!' {
		return fmt.Errorf("answered %x", answer)
	}
	// Thousands of connections in TIME_WAIT would use up the ports.
	_ = c.(*net.TCPConn).SetLinger(0)
	return nil
}

// proxyAttacks are what hostile clients send to the proxy. question is a valid request, for
// a service that sends one byte.
func proxyAttacks(question []byte) []attack {
	answered := func(c net.Conn, n int) error {
		_ = c.SetReadDeadline(time.Now().Add(stage.Patience))
		_, err := io.ReadFull(c, make([]byte, n))
		return err
	}
	return []attack{
		{"nothing", dropped},
		{"half a request, then silence", func(c net.Conn) error {
			send(c, question[:9])
			return dropped(c)
		}},
		{"half a request, then gone", func(c net.Conn) error {
			send(c, question[:9])
			return nil
		}},
		{"a byte at a time", func(c net.Conn) error {
			for i := range question {
				send(c, question[i:i+1])
			}
			return answered(c, 13)
		}},
		{"a thousand requests at once", func(c net.Conn) error {
			send(c, bytes.Repeat(question, 1000)) // the rest goes to the service
			return answered(c, 13)
		}},
		{"endless header", func(c net.Conn) error {
			send(c, []byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 1<<20))
			return dropped(c)
		}},
		{"endless headers", func(c net.Conn) error {
			send(c, []byte("CONNECT x:1 HTTP/1.1\r\n"), bytes.Repeat([]byte("X: y\r\n"), 1<<18))
			return dropped(c)
		}},
		{"endless user of SOCKS 4", func(c net.Conn) error {
			send(c, []byte{4, 1, 0, 9, 127, 0, 0, 1}, bytes.Repeat([]byte("u"), 1<<20))
			return dropped(c)
		}},
		{"a name of control characters", func(c net.Conn) error {
			name := strings.Repeat("\x1b[2J\n", 51)
			send(c, append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(name))}, name+"\x00\x50"...))
			return dropped(c)
		}},
		{"header without end", func(c net.Conn) error {
			send(c, []byte("GET / HTTP/1.1\r\n"), bytes.Repeat([]byte("a:\r\n"), 900))
			return nil
		}},
		{"tunnel with a thousand lines", func(c net.Conn) error {
			send(c, []byte("CONNECT x:1 HTTP/1.1\r\n"), bytes.Repeat([]byte("a:\r\n"), 999), []byte("\r\n"))
			return dropped(c)
		}},
		{"association with rubbish", func(c net.Conn) error {
			send(c, []byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0})
			b := make([]byte, 12)
			_ = c.SetReadDeadline(time.Now().Add(stage.Patience))
			if _, err := io.ReadFull(c, b); err != nil || b[3] != 0 {
				return err // there may be too many
			}
			u, err := net.Dial("udp", netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[6:10])), uint16(b[10])<<8|uint16(b[11])).String())
			if err != nil {
				return err
			}
			defer func() { _ = u.Close() }()
			for i := range 200 {
				datagram := append([]byte{0, 0, byte(i % 3), byte(i % 6)}, bytes.Repeat([]byte{byte(i)}, i)...)
				if _, err := u.Write(datagram); err != nil {
					return nil //nolint:nilerr // the association has ended
				}
			}
			return nil
		}},
		{"neither protocol", func(c net.Conn) error {
			send(c, bytes.Repeat([]byte{0xff, 0}, 32<<10))
			return dropped(c)
		}},
	}
}

// Bytes that clients send to the proxy are as hostile as those that they send to the
// manager. Well-behaved clients are served, and the proxy's memory grows by a bounded
// amount.
func TestHostileProxyClients(t *testing.T) {
	proxy, address := startProxy(t, "timeouts {\n  handshake = \"2s\"\n}\nlimits {\n  connections = 300\n}\n")
	to := netip.MustParseAddrPort(service(t))
	question := toService5(to)
	d := &daemon{Process: proxy}
	for range 50 { // warm
		if err := proxied(address, question); err != nil {
			t.Fatal(err)
		}
	}
	before := d.memory(t)
	good := inLoop(1, func() error { return proxied(address, question) })
	for _, a := range proxyAttacks(question) {
		t.Run(a.name, func(t *testing.T) {
			var g errgroup.Group
			for range 8 {
				g.Go(func() error {
					c, err := net.Dial("tcp", address)
					if err != nil {
						return err
					}
					defer func() { _ = c.Close() }()
					return a.do(c)
				})
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	if err := good(); err != nil {
		t.Errorf("a good client: %v", err)
	}
	// There are more connections than the proxy may have, and they ask for nothing. Each
	// newer one takes the place of the oldest.
	var hoard []net.Conn
	for range 1000 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		hoard = append(hoard, c)
	}
	stage.Until(t, "one more client is served", func() bool { return proxied(address, question) == nil })
	for _, c := range hoard {
		_ = c.Close()
	}
	if grown := d.memory(t) - before; grown > 64<<20 {
		t.Errorf("the proxy grew by %d MB", grown>>20)
	}
	if strings.ContainsAny(proxy.Log.String(), "\x1b\x00") {
		t.Error("control characters were logged")
	}
}
