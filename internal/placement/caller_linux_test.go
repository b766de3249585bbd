package placement

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
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

// A call's arguments lie in the memory of the caller, here this process.
func TestReadWish(t *testing.T) {
	// A stack moves, and with it what addresses as numbers mean.
	var pinned runtime.Pinner
	defer pinned.Unpin()
	sa := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 0x5000, Addr: [4]byte{192, 0, 2, 1}}
	pinned.Pin(sa)
	at := uint64(uintptr(unsafe.Pointer(sa)))
	h := unix.Msghdr{Name: (*byte)(unsafe.Pointer(sa)), Namelen: unix.SizeofSockaddrInet4}
	unnamed := unix.Msghdr{}
	info, mark := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 1}), tos(2)
	sourced, marked := h, h
	pinned.Pin(&info[0])
	pinned.Pin(&mark[0])
	sourced.Control, sourced.Controllen = &info[0], uint64(len(info))
	marked.Control, marked.Controllen = &mark[0], uint64(len(mark))
	msg := func(h *unix.Msghdr) uint64 {
		pinned.Pin(h)
		return uint64(uintptr(unsafe.Pointer(h)))
	}
	pid := uint32(os.Getpid())
	for _, tt := range []struct {
		name string
		call notify.Call
		want error
	}{
		{"connect", notify.Call{PID: pid, NR: unix.SYS_CONNECT, Args: [6]uint64{7, at, unix.SizeofSockaddrInet4}}, nil},
		{"sendto", notify.Call{PID: pid, NR: unix.SYS_SENDTO, Args: [6]uint64{7, 0, 0, 0, at, unix.SizeofSockaddrInet4}}, nil},
		{"sendmsg", notify.Call{PID: pid, NR: unix.SYS_SENDMSG, Args: [6]uint64{7, msg(&h)}}, nil},
		{"sendmmsg", notify.Call{PID: pid, NR: unix.SYS_SENDMMSG, Args: [6]uint64{7, msg(&h)}}, nil},
		{"sendmsg without a destination", notify.Call{PID: pid, NR: unix.SYS_SENDMSG, Args: [6]uint64{7, msg(&unnamed)}}, errNoSocket},
		{"sendmsg that says from where", notify.Call{PID: pid, NR: unix.SYS_SENDMSG, Args: [6]uint64{7, msg(&sourced)}}, errNoSocket},
		{"sendmsg with a mark of ECN", notify.Call{PID: pid, NR: unix.SYS_SENDMSG, Args: [6]uint64{7, msg(&marked)}}, nil},
		{"no address", notify.Call{PID: pid, NR: unix.SYS_CONNECT, Args: [6]uint64{7, 0, 16}}, errNoSocket},
		{"an address out of memory", notify.Call{PID: pid, NR: unix.SYS_CONNECT, Args: [6]uint64{7, 8, 16}}, unix.EFAULT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := readWish(tt.call)
			if !errors.Is(err, tt.want) || err == nil && (w.fd != 7 || w.dest.String() != "192.0.2.1:80") {
				t.Errorf("%+v, %v", w, err)
			}
		})
	}
}

// tos is control data that set the type of service of a datagram.
func tos(value byte) []byte {
	b := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_TOS
	h.SetLen(unix.CmsgLen(4))
	b[unix.CmsgLen(0)] = value
	return b
}

func TestCaller(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := uint32(unix.Gettid())
	th, err := openThread(tid)
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()
	fast, err := th.caller()
	if err != nil {
		t.Fatal(err)
	}
	slow, err := readCaller(tid)
	if err != nil {
		t.Fatal(err)
	}
	if fast.pid != os.Getpid() || int(fast.uid) != os.Getuid() || slow.pid != fast.pid || slow.uid != fast.uid || fast.command == "" {
		t.Errorf("%+v, and from /proc %+v", fast, slow)
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte("Name:\ta b:\tc\nUmask:\t0022\nTgid:\t12\nPid:\t13\nUid:\t1000\t0\t0\t0\n"))
	if want := (caller{12, 1000, "a b:\tc"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "Name:\tx\n", "Name:\tx\nTgid:\ty\nUid:\t1\n", "Name:\tx\nTgid:\t1\nUid:\t-1\t2\n"} {
		if c, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
}
