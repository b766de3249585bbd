package socks

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// onlyAlice knows one user, whose password is "secret".
type onlyAlice struct{}

func (onlyAlice) Authenticate(user, password string) bool {
	return user == "alice" && password == "secret"
}

// Each case says what a client sends and what the client must get. "@" in want stands
// for the proxy's bound address, which is removed before comparing.
func TestMessages(t *testing.T) {
	echo, closed := serveEcho(t), closedPort(t)
	names := map[string]string{"echo.test": "127.0.0.1", "a.b": "127.0.0.1", "silent.test": "192.0.2.99", strings.Repeat("a", 255): "127.0.0.1"}
	open := newProxy(t, Config{Dial: fakeNames(names), Connect: 50 * time.Millisecond})
	auth := newProxy(t, Config{Dial: fakeNames(names), Auth: onlyAlice{}})
	deny := newProxy(t, Config{Dial: fakeNames(names), Rules: denyPort(echo.Port())})
	noUDP := newProxy(t, Config{DisableUDP: true})

	const (
		none   = "\x05\x01\x00"
		bound4 = "@" // two bytes 00 01 and six bytes of address and port
	)
	name := func(s string) string { return "\x03" + string([]byte{byte(len(s))}) + s }
	connect := func(addr string) string { return "\x05\x01\x00" + addr }
	failed := func(code string) string { return "\x05" + code + "\x00\x01\x00\x00\x00\x00\x00\x00" }
	basic := base64.StdEncoding.EncodeToString([]byte("alice:secret"))

	for _, tt := range []struct {
		name string
		to   *testProxy
		send string
		want string
	}{
		// Methods.
		{"no method offered", open, "\x05\x00", "\x05\xff"},
		{"GSSAPI only", open, "\x05\x01\x01", "\x05\xff"},
		{"unknown methods", open, "\x05\x03\x03\x80\xfe", "\x05\xff"},
		{"255 methods, none among them", open, "\x05\xff" + strings.Repeat("\x01", 254) + "\x00", "\x05\x00"},
		{"none where a password is needed", auth, "\x05\x01\x00", "\x05\xff"},
		{"name as a hint", open, "\x05\x02\x00\x02" + "\x01\x03bob\x01x" + connect(socks5Addr(echo)) + "hi", "\x05\x02\x01\x00" + bound4 + "hi"},
		{"empty name and password", open, "\x05\x01\x02" + "\x01\x00\x00" + connect(socks5Addr(echo)) + "hi", "\x05\x02\x01\x00" + bound4 + "hi"},
		{"right password", auth, "\x05\x02\x00\x02" + "\x01\x05alice\x06secret" + connect(socks5Addr(echo)) + "hi", "\x05\x02\x01\x00" + bound4 + "hi"},
		{"wrong password", auth, "\x05\x01\x02" + "\x01\x05alice\x06Secret" + connect(socks5Addr(echo)), "\x05\x02\x01\x01"},
		{"wrong name", auth, "\x05\x01\x02" + "\x01\x03bob\x06secret" + connect(socks5Addr(echo)), "\x05\x02\x01\x01"},
		{"wrong version of the negotiation", auth, "\x05\x01\x02" + "\x05\x05alice\x06secret", "\x05\x02"},

		// CONNECT.
		{"IPv4", open, none + connect(socks5Addr(echo)) + "hello", "\x05\x00" + bound4 + "hello"},
		{"name", open, none + connect(name("echo.test")+port(echo)) + "hello", "\x05\x00" + bound4 + "hello"},
		{"short name", open, none + connect(name("a.b")+port(echo)) + "hello", "\x05\x00" + bound4 + "hello"},
		{"longest name", open, none + connect(name(strings.Repeat("a", 255))+port(echo)) + "x", "\x05\x00" + bound4 + "x"},
		{"address as a name", open, none + connect(name("127.0.0.1")+port(echo)) + "hello", "\x05\x00" + bound4 + "hello"},
		{"IPv4 in IPv6", open, none + connect("\x04"+strings.Repeat("\x00", 10)+"\xff\xff\x7f\x00\x00\x01"+port(echo)) + "x", "\x05\x00" + bound4 + "x"},
		{"refused", open, none + connect(socks5Addr(closed)), "\x05\x00" + failed("\x05")},
		{"no such name", open, none + connect(name("nope.test")+"\x00\x50"), "\x05\x00" + failed("\x04")},
		{"empty name", open, none + connect(name("")+"\x00\x50"), "\x05\x00" + failed("\x04")},
		{"name with a zero byte", open, none + connect(name("a\x00b")+"\x00\x50"), "\x05\x00" + failed("\x04")},
		{"name with a port in it", open, none + connect(name("echo.test:80")+"\x00\x50"), "\x05\x00" + failed("\x04")},
		{"address with a zone", open, none + connect(name("fe80::1%lo")+"\x00\x50"), "\x05\x00" + failed("\x04")},
		{"silent", open, none + connect(name("silent.test")+"\x00\x50"), "\x05\x00" + failed("\x06")},
		{"not allowed", deny, none + connect(name("echo.test")+port(echo)), "\x05\x00" + failed("\x02")},
		{"the proxy itself", open, none + connect(socks5Addr(open.addr)), "\x05\x00" + failed("\x02")},
		{"the proxy by its name", open, none + connect(name("a.b")+port(open.addr)), "\x05\x00" + failed("\x02")},

		// Not supported.
		{"BIND", open, none + "\x05\x02\x00" + socks5Addr(echo), "\x05\x00" + failed("\x07")},
		{"UDP switched off", noUDP, none + "\x05\x03\x00" + socks5Addr(echo), "\x05\x00" + failed("\x07")},
		{"command 0", open, none + "\x05\x00\x00" + socks5Addr(echo), "\x05\x00" + failed("\x07")},
		{"command 255, with a name", open, none + "\x05\xff\x00" + name("x") + port(echo), "\x05\x00" + failed("\x07")},
		{"address type 2", open, none + connect("\x02\x7f\x00\x00\x01\x00\x50"), "\x05\x00" + failed("\x08")},

		// Messages that end early, or are something else.
		{"nothing", open, "", ""},
		{"one byte", open, "\x05", ""},
		{"half a list", open, "\x05\x02\x00", ""},
		{"no request", open, none, "\x05\x00"},
		{"half a request", open, none + "\x05\x01", "\x05\x00"},
		{"half an address", open, none + connect("\x01\x7f\x00"), "\x05\x00"},
		{"half a name", open, none + connect("\x03\x09echo"), "\x05\x00"},
		{"no port", open, none + connect("\x03\x09echo.test\x00"), "\x05\x00"},
		{"version 4 in the request", open, none + "\x04\x01\x00" + socks5Addr(echo), "\x05\x00"},
		{"rubbish", open, "\x16\x03\x01\x00\xa5", ""},

		// SOCKS 4.
		{"4", open, "\x04\x01" + port(echo) + "\x7f\x00\x00\x01user\x00hello", "@hello"},
		{"4, no user", open, "\x04\x01" + port(echo) + "\x7f\x00\x00\x01\x00hello", "@hello"},
		{"4a", open, "\x04\x01" + port(echo) + "\x00\x00\x00\x01u\x00echo.test\x00hello", "@hello"},
		{"4a, refused", open, "\x04\x01" + port(closed) + "\x00\x00\x00\x01u\x00echo.test\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"4a, empty name", open, "\x04\x01" + port(echo) + "\x00\x00\x00\x01u\x00\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"4, unknown command", open, "\x04\x03" + port(echo) + "\x7f\x00\x00\x01\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"4, where a password is needed", auth, "\x04\x01" + port(echo) + "\x7f\x00\x00\x01alice\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"4, not allowed", deny, "\x04\x01" + port(echo) + "\x7f\x00\x00\x01\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"4, endless user", open, "\x04\x01" + port(echo) + "\x7f\x00\x00\x01" + strings.Repeat("u", 300), ""},
		{"4a, endless name", open, "\x04\x01" + port(echo) + "\x00\x00\x00\x01\x00" + strings.Repeat("n", 300), ""},
		{"4, half", open, "\x04\x01\x00", ""},

		// HTTP.
		{"CONNECT", open, "CONNECT echo.test:" + fmt.Sprint(echo.Port()) + " HTTP/1.1\r\n\r\nhello", "HTTP/1.1 200 Connection established\r\n\r\nhello"},
		{"CONNECT, refused", open, "CONNECT " + closed.String() + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 502"},
		{"CONNECT, no port", open, "CONNECT echo.test HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
		{"CONNECT, not allowed", deny, "CONNECT " + echo.String() + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 403"},
		{"CONNECT, no password", auth, "CONNECT " + echo.String() + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 407"},
		{"CONNECT, password", auth, "CONNECT " + echo.String() + " HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic " + basic + "\r\n\r\nhi", "HTTP/1.1 200 Connection established\r\n\r\nhi"},
		{"for a server", open, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
		{"another scheme", open, "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501"},
		{"not HTTP after all", open, "QUIT\r\n\r\n", "HTTP/1.1 400"},
		{"endless header", open, "GET http://x/ HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 2<<20) + "\r\n\r\n", "HTTP/1.1 431"},
	} {
		for _, pieces := range []int{1, len(tt.send)} {
			if pieces > 1000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", tt.name, pieces), func(t *testing.T) {
				got := tt.to.exchange(t, tt.send, max(1, pieces))
				if !strings.HasPrefix(tt.want, "HTTP/1.1 ") || strings.HasPrefix(tt.want, "HTTP/1.1 200") {
					got = maskBound(tt.send, tt.want, got)
					if got != tt.want {
						t.Errorf("got %q, want %q", got, tt.want)
					}
				} else if !strings.HasPrefix(got, tt.want) {
					t.Errorf("got %q, want %q...", got, tt.want)
				}
			})
		}
	}
}

// maskBound replaces a reply that says "succeeded" by "@", if its bound address is a
// loopback address with a port.
func maskBound(sent, want, got string) string {
	i := strings.IndexByte(want, '@')
	if i < 0 || len(got) < i {
		return got
	}
	if strings.HasPrefix(sent, "\x04") {
		if len(got) >= 8 && got[:2] == "\x00\x5a" && got[2:4] != "\x00\x00" && got[4:8] == "\x7f\x00\x00\x01" {
			return "@" + got[8:]
		}
		return got
	}
	if len(got) >= i+10 && got[i:i+8] == "\x05\x00\x00\x01\x7f\x00\x00\x01" && got[i+8:i+10] != "\x00\x00" {
		return got[:i] + "@" + got[i+10:]
	}
	return got
}

// denyPort forbids addresses with one port.
type denyPort uint16

func TestReplyHasTheFamilyOfTheConnection(t *testing.T) {
	needIPv6(t)
	l := serveTCP6(t)
	p := newProxy(t, Config{})
	got := p.exchange(t, "\x05\x01\x00\x05\x01\x00"+socks5Addr(l), 1)
	loopback := netip.IPv6Loopback().As16()
	if len(got) != 24 || got[2:6] != "\x05\x00\x00\x04" || got[6:22] != string(loopback[:]) || got[22:] == "\x00\x00" {
		t.Errorf("got %q, want a reply with address type 4 and ::1", got)
	}
}
