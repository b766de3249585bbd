package sockdiag

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Many connections that are asked about at once each get their own answer, in order, among
// others that are gone or cannot be asked about.
func TestBatch(t *testing.T) {
	c := dial(t)
	b, err := NewBatch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	client4, server4 := pair(t, "tcp", "127.0.0.1:0")
	client6, _ := pair(t, "tcp", "[::1]:0")
	if _, err := client4.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := server4.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	local4, remote4 := ends(t, client4)
	local6, remote6 := ends(t, client6)
	kinds := []Query{
		{Cookie: 7},
		{Local: local4, Remote: remote4, Cookie: cookieOf(t, client4)}, {Local: local6, Remote: remote6, Cookie: cookieOf(t, client6)}, {Local: remote4, Remote: local4, Cookie: AnyCookie},
		{Local: local4, Remote: remote4, Cookie: cookieOf(t, client6)},                                 // another's cookie
		{Local: netip.AddrPortFrom(local4.Addr(), 1), Remote: remote4, Cookie: AnyCookie},              // none
		{Local: remote4, Remote: netip.MustParseAddrPort("127.0.0.1:1"), Cookie: cookieOf(t, server4)}, // none either
	}
	want := []error{ErrNotFound, nil, nil, nil, ErrNotFound, ErrNotFound, ErrNotFound}
	for _, n := range []int{0, 1, len(kinds), maxBatch, 3*maxBatch + 5} {
		var list []Query
		for i := range n {
			list = append(list, kinds[i%len(kinds)])
		}
		answers := b.Get(list)
		if len(answers) != n {
			t.Fatalf("%d answers to %d questions", len(answers), n)
		}
		for i, a := range answers {
			if !errors.Is(a.Err, want[i%len(want)]) {
				t.Errorf("question %d of %d: %v, want %v", i, n, a.Err, want[i%len(want)])
			}
			if a.Err != nil {
				continue
			}
			q := list[i]
			one, err := c.Get(unix.IPPROTO_TCP, q.Local, q.Remote, q.Cookie)
			if err != nil || a.Socket != one {
				t.Errorf("question %d of %d: %+v, and alone %+v, %v", i, n, a.Socket, one, err)
			}
		}
	}
	b2 := &Batch{fd: -1}
	if a := b2.Get(kinds[:2]); !errors.Is(a[0].Err, ErrNotFound) || !errors.Is(a[1].Err, unix.EBADF) {
		t.Errorf("without a socket: %v", a)
	}
}

// An answer that comes too late is not taken for that to a later question.
func TestBatchLate(t *testing.T) {
	b, err := NewBatch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	client, server := pair(t, "tcp", "127.0.0.1:0")
	local, remote := ends(t, client)
	late := []Query{{Local: local, Remote: remote, Cookie: cookieOf(t, client)}}
	other := []Query{{Local: remote, Remote: local, Cookie: cookieOf(t, server)}}
	seq := b.seq
	_ = b.Get(late)
	b.seq = seq // the question is put once more, and its answer is left
	message := append([]byte{}, b.out...)
	if err := unix.Sendto(b.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	b.seq += maxBatch
	if a := b.Get(other)[0]; a.Err != nil || a.Socket.Cookie != other[0].Cookie {
		t.Errorf("%+v, want that of cookie %d", a, other[0].Cookie)
	}
}

// Look hands over the kernel's own words about each connection that is found, also about one that
// is bound to an interface, if that is named.
func TestLook(t *testing.T) {
	b, err := NewBatch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	client, server := pair(t, "tcp", "127.0.0.1:0")
	local, remote := ends(t, client)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip("needs a loopback interface: ", err)
	}
	raw, err := client.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	if err := raw.Control(func(fd uintptr) { refused = unix.BindToDevice(int(fd), "lo") }); err != nil || refused != nil {
		t.Skip("needs CAP_NET_RAW: ", err, refused)
	}
	var list, want []Query
	for range maxBatch {
		there := Query{Local: local, Remote: remote, Cookie: cookieOf(t, client), Device: uint32(lo.Index)}
		other := Query{Local: remote, Remote: local, Cookie: cookieOf(t, server)}
		unnamed := there
		unnamed.Device = 0
		list, want = append(list, unnamed, there, Query{}, other), append(want, there, other)
	}
	var got []Query
	last := -1
	answers := b.Look(list, func(i int, message []byte) {
		if i <= last {
			t.Errorf("place %d after %d", i, last)
		}
		last = i
		s, err := parse(message)
		if err != nil || s.Cookie != list[i].Cookie {
			t.Errorf("place %d: %+v, %v", i, s, err)
		}
		got = append(got, list[i])
	})
	if !slices.Equal(got, want) {
		t.Errorf("%d connections, want %d", len(got), len(want))
	}
	for i, a := range answers {
		if found := i%2 == 1; found != (a.Err == nil) || !found && !errors.Is(a.Err, ErrNotFound) {
			t.Errorf("place %d: %v", i, a.Err)
		}
	}
	if b.visit != nil {
		t.Error("Get would call it, too")
	}
}

func FuzzParseAnswer(f *testing.F) {
	message := func(typ uint16, data []byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(data)))
		b = binary.NativeEndian.AppendUint16(b, typ)
		b = append(b, 0, 0)
		b = binary.NativeEndian.AppendUint32(b, 7)
		return append(append(b, 0, 0, 0, 0), data...)
	}
	f.Add(message(byFamily, make([]byte, messageSize)))
	f.Add(message(unix.NLMSG_ERROR, []byte{0xfe, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, a, ok := parseAnswer(b, 7)
		switch {
		case ok && (i < 0 || i >= maxBatch):
			t.Errorf("it answers question %d", i)
		case !ok && a != (Answer{}):
			t.Errorf("%+v that answers none", a)
		case ok && len(b) < unix.NLMSG_HDRLEN+4 && a.Err == nil:
			t.Errorf("%+v of %d bytes", a, len(b))
		}
	})
}
