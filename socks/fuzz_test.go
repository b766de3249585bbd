package socks

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
)

var addrSeeds = []string{
	"\x01\x7f\x00\x00\x01\x00\x50", "\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", "\x03\x01a\x00\x50", "\x03\x00\x00\x50",
	"\x03\x0bexample.org\x01\xbb", "\x03\x07fe80::1\x00\x50", "\x05", "\x03\xff", "\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01\x00\x50",
}

// What is accepted is a plain name or an address, and addresses are written
// back as they were.
func FuzzReadAddr(f *testing.F) {
	for _, s := range addrSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readAddr(r)
		if err != nil {
			return
		}
		if host, err := parseHost(a.Host); err != nil || host != a.Host {
			t.Fatalf("accepted %q, but it parses as %q, %v", a.Host, host, err)
		}
		used := b[:len(b)-r.Len()]
		if t4 := AddrType(b[0]); t4 != AddrName {
			got := appendAddr(nil, netip.AddrPortFrom(a.IP(), a.Port))
			if t4 == AddrIPv4 && !bytes.Equal(got, used) || t4 == AddrIPv6 && a.IP().Is6() && !bytes.Equal(got, used) {
				t.Fatalf("%x is written back as %x", used, got)
			}
		}
	})
}

func FuzzSOCKS5(f *testing.F) {
	f.Add([]byte("\x05\x01\x00"), []byte("\x01\x01a\x01b"), []byte("\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"))
	for _, s := range addrSeeds {
		f.Add([]byte("\x05\x02\x00\x02"), []byte("\x01\x00\x00"), []byte("\x05\x03\x00"+s))
	}
	f.Fuzz(func(t *testing.T, greeting, password, request []byte) {
		if m, err := readMethods(bytes.NewReader(greeting)); err == nil && len(m) > 255 {
			t.Fatalf("%d methods", len(m))
		}
		if u, p, err := readUserPassword(bytes.NewReader(password)); err == nil && len(u)+len(p)+3 > len(password) {
			t.Fatalf("%q and %q from %d bytes", u, p, len(password))
		}
		var whole, bytewise Request
		err1 := readSOCKS5Request(bytes.NewReader(request), &whole)
		err2 := readSOCKS5Request(iotestOneByte{bytes.NewReader(request)}, &bytewise)
		if (err1 == nil) != (err2 == nil) || whole.Dest != bytewise.Dest || whole.Command != bytewise.Command {
			t.Fatalf("in one piece %v %v, byte by byte %v %v", whole, err1, bytewise, err2)
		}
	})
}

// iotestOneByte reads a byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return o.r.Read(b[:1])
}

func FuzzSOCKS4(f *testing.F) {
	f.Add([]byte("\x04\x01\x00\x50\x7f\x00\x00\x01user\x00"))
	f.Add([]byte("\x04\x01\x00\x50\x00\x00\x00\x01\x00example.org\x00"))
	f.Add([]byte("\x04\x02\x00\x50\x00\x00\x00\x00\x00rest"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if err := readSOCKS4Request(bufio.NewReader(bytes.NewReader(b)), &r); err != nil {
			return
		}
		if host, err := parseHost(r.Dest.Host); err != nil || host != r.Dest.Host || len(r.User) > maxName {
			t.Fatalf("accepted %+v: %v", r, err)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	for _, s := range addrSeeds {
		f.Add([]byte("\x00\x00\x00" + s + "data"))
	}
	f.Add([]byte("\x00\x00\x01\x01\x7f\x00\x00\x01\x00\x50fragment"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, data, err := parseDatagram(b)
		if err != nil {
			return
		}
		ip := a.IP()
		if !ip.IsValid() {
			return
		}
		var h [datagramHeader]byte
		ap := netip.AddrPortFrom(ip, a.Port)
		again, data2, err := parseDatagram(append(h[putDatagramHeader(&h, ap):], data...))
		if err != nil || again != a || !bytes.Equal(data, data2) {
			t.Fatalf("%v with %q becomes %v with %q, %v", a, data, again, data2, err)
		}
	})
}

func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"example.org:443", "[::1]:80", "[::1]", "example.org", ":80", "a:b:c", "[fe80::1%25lo]:80", "x:99999", "x:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, port := range []string{"", "80"} {
			a, err := parseHostPort(s, port)
			if err != nil {
				continue
			}
			if again, err := parseHostPort(a.String(), ""); err != nil || again != a {
				t.Fatalf("%q gives %v, which gives %v, %v", s, a, again, err)
			}
		}
	})
}

func TestDatagrams(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		dest     Addr
		data     string
		err      error
	}{
		{"IPv4", "\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x35data", Addr{"127.0.0.1", 53}, "data", nil},
		{"IPv6, empty", "\x00\x00\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x35", Addr{"::1", 53}, "", nil},
		{"name", "\x00\x00\x00\x03\x01a\x00\x35data", Addr{"a", 53}, "data", nil},
		{"fragment", "\x00\x00\x01\x01\x7f\x00\x00\x01\x00\x35data", Addr{}, "", errFragment},
		{"last fragment", "\x00\x00\x81\x01\x7f\x00\x00\x01\x00\x35data", Addr{}, "", errFragment},
		{"nothing", "", Addr{}, "", errShortDatagram},
		{"no address", "\x00\x00\x00", Addr{}, "", errShortDatagram},
		{"half an address", "\x00\x00\x00\x01\x7f\x00", Addr{}, "", io.ErrUnexpectedEOF},
	} {
		dest, data, err := parseDatagram([]byte(tt.in))
		if dest != tt.dest || string(data) != tt.data || err != tt.err { //nolint:errorlint // exactly these
			t.Errorf("%s: %v, %q, %v; want %v, %q, %v", tt.name, dest, data, err, tt.dest, tt.data, tt.err)
		}
	}
}
