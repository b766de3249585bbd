package socks

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
)

var addrSeeds = []string{
	"\x01\x7f\x00\x00\x01\x00\x50", "\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", "\x03\x01a\x00\x50", "\x03\x00\x00\x50",
	"\x03\x0bexample.org\x01\xbb", "\x03\x07fe80::1\x00\x50", "\x05", "\x03\xff", "\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01\x00\x50",
}

// readAddr accepts plain names and addresses only, and appendAddr writes an address
// back as it was.
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

// iotestOneByte reads one byte at a time.
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

// net/http reads the request that a server gets in the same way as the proxy read what
// the client sent, and finds the same end of the body.
func FuzzHTTPRequest(f *testing.F) {
	f.Add([]byte("GET http://x/100% HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"))
	f.Add([]byte("POST http://u:p@x:1?a HTTP/1.0\r\nContent-Length: 3, 3\r\nConnection: a, keep-alive\r\nA: b\r\n\r\n"))
	f.Add([]byte("POST http://[::1]/ HTTP/1.1\nTransfer-Encoding: gzip, chunked\nContent-Length: 1\nConnection: upgrade\nUpgrade: x\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseHTTPRequest(append(bytes.Clone(b), "\r\n\r\n"...), nil)
		if err != nil {
			return
		}
		authority, target, err := r.absolute()
		if err != nil {
			return
		}
		if _, err := parseHostPort(authority, "80"); err != nil {
			return
		}
		out := r.appendTo(nil, authority, target, []string{"A"}, "v")
		again, err := parseHTTPRequest(out, nil)
		if err != nil || again.body.chunked != r.body.chunked || again.body.length != r.body.length || again.body.ambiguous || again.method != r.method || again.target != target {
			t.Fatalf("%q becomes %q, which is %+v, %v", b, out, again, err)
		}
		if headEnd(out, 0) != len(out) {
			t.Fatalf("%q becomes %q, which ends early", b, out)
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if err != nil {
			return // net/http is stricter about targets and values
		}
		if chunked := len(theirs.TransferEncoding) > 0; chunked != r.body.chunked || !chunked && theirs.ContentLength != r.body.length {
			t.Fatalf("%q becomes %q, whose body net/http takes to be %d, %v", b, out, theirs.ContentLength, theirs.TransferEncoding)
		}
	})
}

func FuzzHTTPResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"), true)
	f.Add([]byte("ICY 200 OK\r\nno field\r\n a\r\nA : b\r\n c\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 204\nTransfer-Encoding: chunked\nContent-Length: 1\n\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		r, err := parseHTTPResponse(append(bytes.Clone(b), "\r\n\r\n"...), method, nil)
		if err != nil {
			return
		}
		out := r.appendTo(nil, false, r.keep, "")
		again, err := parseHTTPResponse(out, method, nil)
		if err != nil || again.status != r.status || again.body.chunked != r.body.chunked || again.body.length != r.body.length || again.body.toEnd != r.body.toEnd {
			t.Fatalf("%q becomes %q, which is %+v, %v", b, out, again, err)
		}
		if headEnd(out, 0) != len(out) {
			t.Fatalf("%q becomes %q, which ends early", b, out)
		}
	})
}

// The end of a chunked body does not depend on the pieces in which the body arrives. It
// is where net/http finds it, if net/http accepts the body.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\nGET"), true)
	f.Add([]byte("3;x=y\nabc\n00\nT: u\n\nrest"), false)
	f.Add([]byte("a \r\n0123456789\r\n0\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, strict bool) {
		whole, bytewise := chunkScanner{strict: strict}, chunkScanner{strict: strict}
		var data, data1 []byte
		n, done, err := whole.scan(b, func(p []byte) { data = append(data, p...) })
		n1, done1 := 0, false
		var err1 error
		for n1 < len(b) && !done1 && err1 == nil {
			var k int
			k, done1, err1 = bytewise.scan(b[n1:n1+1], func(p []byte) { data1 = append(data1, p...) })
			n1 += k
		}
		if n != n1 || done != done1 || (err == nil) != (err1 == nil) || !bytes.Equal(data, data1) {
			t.Fatalf("in one piece %d, %v, %v; byte by byte %d, %v, %v", n, done, err, n1, done1, err1)
		}
		if !done || !strict {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b[:n])))
		if err == nil && !bytes.Equal(theirs, data) {
			t.Fatalf("%q holds %q, net/http reads %q", b[:n], data, theirs)
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
		{"half a fragment", "\x00\x00\x01\x01\x7f\x00", Addr{}, "", io.ErrUnexpectedEOF},
		{"nothing", "", Addr{}, "", errShortDatagram},
		{"no address", "\x00\x00\x00", Addr{}, "", errShortDatagram},
		{"half an address", "\x00\x00\x00\x01\x7f\x00", Addr{}, "", io.ErrUnexpectedEOF},
	} {
		dest, data, err := parseDatagram([]byte(tt.in))
		if dest != tt.dest || string(data) != tt.data || err != tt.err { //nolint:errorlint // must be this very error
			t.Errorf("%s: %v, %q, %v; want %v, %q, %v", tt.name, dest, data, err, tt.dest, tt.data, tt.err)
		}
	}
}
