package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

func TestParseSockaddr(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want string // "": no destination
	}{
		{"IPv4", []byte{2, 0, 0, 80, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0}, "192.0.2.1:80"},
		{"IPv4, too short", []byte{2, 0, 0, 80, 192, 0, 2, 1}, ""},
		{"IPv6", append([]byte{10, 0, 1, 187, 0, 0, 0, 0}, append(as16("2001:db8::1"), 0, 0, 0, 0)...), "[2001:db8::1]:443"},
		{"IPv6 without a scope", append([]byte{10, 0, 1, 187, 0, 0, 0, 0}, as16("2001:db8::1")...), "[2001:db8::1]:443"},
		{"IPv6 with a scope", append([]byte{10, 0, 0, 22, 0, 0, 0, 0}, append(as16("fe80::1"), 3, 0, 0, 0)...), "[fe80::1%3]:22"},
		{"IPv6 with a scope that does not count", append([]byte{10, 0, 0, 22, 0, 0, 0, 0}, append(as16("2001:db8::1"), 3, 0, 0, 0)...), "[2001:db8::1]:22"},
		{"IPv4 in IPv6", append([]byte{10, 0, 0, 22, 0, 0, 0, 0}, append(as16("::ffff:192.0.2.1"), 0, 0, 0, 0)...), "[::ffff:192.0.2.1]:22"},
		{"no family", []byte{0, 0, 0, 80, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0}, ""},
		{"Unix", []byte{1, 0, '/', 0}, ""},
		{"a byte", []byte{2}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSockaddr(tt.in)
			if tt.want == "" {
				if !errors.Is(err, errNoSocket) {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			if err != nil || got.String() != tt.want {
				t.Errorf("%v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func as16(s string) []byte { b := netip.MustParseAddr(s).As16(); return b[:] }

func FuzzParseSockaddr(f *testing.F) {
	f.Add([]byte{2, 0, 0, 80, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{10, 0, 1, 187, 0, 0, 0, 0}, append(as16("fe80::1"), 3, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseSockaddr(b); err == nil && !a.Addr().IsValid() {
			t.Errorf("%v", a)
		}
	})
}

func TestFar(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.2.1": true, "10.0.0.1": true, "2001:db8::1": true, "fd00::1": true,
		"127.0.0.1": false, "127.1.2.3": false, "0.0.0.0": false, "::": false, "::1": false, "169.254.0.1": false, "fe80::1": false,
		"224.0.0.251": false, "ff02::fb": false, "255.255.255.255": false, "2001:db8::1%3": false,
	} {
		if got := far(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// The arguments of a call lie in the memory of the caller, which is this process here.
func TestReadWish(t *testing.T) {
	// A goroutine's stack can move, and then addresses that are kept as numbers are wrong.
	var pinned runtime.Pinner
	defer pinned.Unpin()
	sa := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 0x5000, Addr: [4]byte{192, 0, 2, 1}}
	bare := &unix.RawSockaddrInet4{Family: unix.AF_UNSPEC, Port: 0x5000, Addr: [4]byte{192, 0, 2, 1}}
	pinned.Pin(sa)
	pinned.Pin(bare)
	at, bareAt := uint64(uintptr(unsafe.Pointer(sa))), uint64(uintptr(unsafe.Pointer(bare)))
	const size = unix.SizeofSockaddrInet4
	// message returns the address of a message with control data.
	message := func(name *unix.RawSockaddrInet4, control ...byte) unix.Msghdr {
		h := unix.Msghdr{}
		if name != nil {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(name)), size
		}
		if len(control) > 0 {
			pinned.Pin(&control[0])
			h.Control, h.Controllen = &control[0], uint64(len(control))
		}
		return h
	}
	unnamed := func(name *unix.RawSockaddrInet4, length uint32, control ...byte) unix.Msghdr {
		h := message(name, control...)
		h.Namelen = length
		return h
	}
	unreadable := unix.Msghdr{Controllen: 24}
	*(*uintptr)(unsafe.Pointer(&unreadable.Control)) = 4096 // where no memory is
	type several [3]struct {
		unix.Msghdr
		n uint32
	}
	list := func(headers ...unix.Msghdr) uint64 {
		s := &several{}
		for i, h := range headers {
			s[i].Msghdr = h
		}
		pinned.Pin(s)
		return uint64(uintptr(unsafe.Pointer(s)))
	}
	const dest, twice = "192.0.2.1:80", "192.0.2.1:80 192.0.2.1:80"
	lo := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 1})
	nowhere := unix.PktInfo4(&unix.Inet4Pktinfo{})
	var padded []byte // more than fits a page
	for len(padded) < 8192 {
		padded = append(padded, tos(2)...)
	}
	pid := uint32(os.Getpid())
	for _, tt := range []struct {
		name string
		nr   int32
		args []uint64 // after the descriptor
		all  bool
		want string // destinations and where they leave; "": errNoSocket
		err  error
	}{
		{name: "connect", nr: unix.SYS_CONNECT, args: []uint64{at, size}, want: dest},
		{name: "connect to nobody, which disconnects", nr: unix.SYS_CONNECT, args: []uint64{bareAt, size}},
		{name: "sendto", nr: unix.SYS_SENDTO, args: []uint64{0, 0, 0, at, size}, want: dest},
		{name: "sendto without a family", nr: unix.SYS_SENDTO, args: []uint64{0, 0, 0, bareAt, size}, want: dest + " (bare)"},
		{name: "sendmsg", nr: unix.SYS_SENDMSG, args: []uint64{list(message(sa))}, want: dest},
		{name: "sendmsg without a destination", nr: unix.SYS_SENDMSG, args: []uint64{list(message(nil))}},
		{name: "sendmsg that says from where", nr: unix.SYS_SENDMSG, args: []uint64{list(message(sa, lo...))}, want: dest + " from 1"},
		{name: "sendmsg that says so at the end", nr: unix.SYS_SENDMSG, args: []uint64{list(message(sa, append(padded, lo...)...))}, want: dest + " from 1"},
		{name: "sendmsg to the peer that says from where", nr: unix.SYS_SENDMSG, args: []uint64{list(message(nil, lo...))}, all: true, want: "invalid AddrPort from 1"},
		{name: "the same with a name of no length", nr: unix.SYS_SENDMSG, args: []uint64{list(unnamed(sa, 0, lo...))}, all: true, want: "invalid AddrPort from 1"},
		{name: "the same with a name of no family alone", nr: unix.SYS_SENDMSG, args: []uint64{list(unnamed(bare, 2, lo...))}, all: true, want: "invalid AddrPort (bare) from 1"},
		{name: "to the peer, where nothing is required", nr: unix.SYS_SENDMSG, args: []uint64{list(unnamed(nil, 0, lo...))}},
		{name: "descriptors to the peer, which are not looked at", nr: unix.SYS_SENDMSG, args: []uint64{list(unreadable)}},
		{name: "sendmsg that says nothing about that", nr: unix.SYS_SENDMSG, args: []uint64{list(message(sa, nowhere...))}, want: dest},
		{name: "sendmsg with a mark of ECN", nr: unix.SYS_SENDMSG, args: []uint64{list(message(sa, tos(2)...))}, want: dest},
		{name: "sendmmsg", nr: unix.SYS_SENDMMSG, args: []uint64{list(message(sa), message(sa)), 2}, want: dest},
		{name: "sendmmsg, all", nr: unix.SYS_SENDMMSG, args: []uint64{list(message(sa), message(nil), message(sa)), 3}, all: true, want: twice},
		{name: "sendmmsg, first to the peer", nr: unix.SYS_SENDMMSG, args: []uint64{list(message(nil), message(sa)), 2}, want: dest},
		{name: "sendmmsg of nothing", nr: unix.SYS_SENDMMSG, args: []uint64{list(message(sa)), 0}},
		{name: "no address", nr: unix.SYS_CONNECT, args: []uint64{0, size}},
		{name: "an address out of memory", nr: unix.SYS_CONNECT, args: []uint64{8, size}, err: unix.EFAULT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := notify.Call{PID: pid, NR: tt.nr, Args: [6]uint64{7}}
			copy(c.Args[1:], tt.args)
			w, err := readWish(c, tt.all)
			want := tt.err
			if tt.want == "" && want == nil {
				want = errNoSocket
			}
			if !errors.Is(err, want) {
				t.Fatalf("%+v, %v; want %v", w, err, want)
			}
			if err != nil {
				return
			}
			var got []string
			for _, part := range w.parts {
				text := part.dest.String()
				if part.bare {
					text += " (bare)"
				}
				if part.from != (origin{}) {
					text += fmt.Sprint(" from ", part.from.index)
				}
				got = append(got, text)
			}
			if text := strings.Join(got, " "); text != tt.want || w.fd != 7 {
				t.Errorf("descriptor %d: %s, want %s", w.fd, text, tt.want)
			}
		})
	}
	h := message(sa, lo...)
	h.Controllen = maxControl + 1
	if w, err := readWish(notify.Call{PID: pid, NR: unix.SYS_SENDMSG, Args: [6]uint64{7, list(h)}}, false); err == nil || errors.Is(err, errNoSocket) {
		t.Errorf("more than is read: %+v, %v", w, err)
	}
}

// An address in a program's memory may look like a pointer to memory that this process has
// freed. The garbage collector ends a process that has such pointers.
func TestReadWishOfForeignAddresses(t *testing.T) {
	var freed []uint64
	for range 64 {
		freed = append(freed, uint64(uintptr(unsafe.Pointer(&make([]byte, 1<<20)[0]))))
	}
	runtime.GC()
	control := make([]byte, 1<<19) // is copied, which makes the collector run meanwhile
	words := [7]uint64{4: uint64(uintptr(unsafe.Pointer(&control[0]))), 5: uint64(len(control))}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&words)
	pinned.Pin(&control[0])
	c := notify.Call{PID: uint32(os.Getpid()), NR: unix.SYS_SENDMSG, Args: [6]uint64{7, uint64(uintptr(unsafe.Pointer(&words)))}}
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for range 100 {
			runtime.GC()
		}
	}()
	for i := 0; ; i++ {
		select {
		case <-collected:
			return
		default:
		}
		words[0] = freed[i%len(freed)]
		if w, err := readWish(c, true); !errors.Is(err, errNoSocket) {
			t.Fatalf("%+v, %v", w, err)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	mark := func(value uint32) []byte {
		return cmsg(unix.SOL_SOCKET, unix.SO_MARK, binary.NativeEndian.AppendUint32(nil, value))
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want origin
	}{
		{"nothing", nil, origin{}},
		{"IPv4", unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: v4.As4()}), origin{source: v4}},
		{"IPv6", unix.PktInfo6(&unix.Inet6Pktinfo{Addr: v6.As16(), Ifindex: 3}), origin{source: v6, index: 3}},
		{"IPv6 by the older number", cmsg(unix.IPPROTO_IPV6, ipv6PktInfo2292, append(as16("2001:db8::7"), 3, 0, 0, 0)), origin{source: v6, index: 3}},
		{"IPv4 in IPv6", unix.PktInfo6(&unix.Inet6Pktinfo{Addr: netip.AddrFrom16(v4.As16()).As16()}), origin{source: v4}},
		{"what IPv4 is received at", unix.PktInfo4(&unix.Inet4Pktinfo{Addr: v4.As4()}), origin{}},
		{"two", append(unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 3}), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: v4.As4()})...), origin{source: v4, index: 3}},
		{"a mark", mark(7), origin{marked: true}},
		{"no mark", mark(0), origin{}},
		{"a source route", cmsg(unix.IPPROTO_IP, unix.IP_RETOPTS, []byte{1, 131, 7, 4, 192, 0, 2, 1}), origin{routed: true}},
		{"a source route behind another option", cmsg(unix.IPPROTO_IP, unix.IP_RETOPTS, []byte{7, 4, 4, 0, 137, 7, 4, 192, 0, 2, 1}), origin{routed: true}},
		{"options without a source route", cmsg(unix.IPPROTO_IP, unix.IP_RETOPTS, []byte{7, 7, 4, 131, 131, 131, 131, 0, 131}), origin{}},
		{"options that are no options", cmsg(unix.IPPROTO_IP, unix.IP_RETOPTS, []byte{7, 1, 131}), origin{}},
		{"a routing header", cmsg(unix.IPPROTO_IPV6, unix.IPV6_RTHDR, make([]byte, 24)), origin{routed: true}},
		{"a routing header by the older number", cmsg(unix.IPPROTO_IPV6, ipv6RoutingHeader2292, make([]byte, 24)), origin{routed: true}},
		{"too short", cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1, 0, 0, 0}), origin{}},
		{"malformed", []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}, origin{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseOrigin(tt.in); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseOrigin(f *testing.F) {
	f.Add(unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o := parseOrigin(b); o.source.IsValid() && o.source.IsUnspecified() {
			t.Errorf("%+v", o)
		}
	})
}

// tos returns control data that set the type of service of a datagram.
func tos(value byte) []byte {
	return cmsg(unix.IPPROTO_IP, unix.IP_TOS, []byte{value, 0, 0, 0})
}

// cmsg returns one entry of control data (cmsg(3)).
func cmsg(level, typ int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}
