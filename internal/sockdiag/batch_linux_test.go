package sockdiag

import (
	"encoding/binary"
	"errors"
	"net/netip"
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
		{local4, remote4, cookieOf(t, client4)}, {local6, remote6, cookieOf(t, client6)}, {remote4, local4, AnyCookie},
		{local4, remote4, cookieOf(t, client6)},                                 // another's cookie
		{netip.AddrPortFrom(local4.Addr(), 1), remote4, AnyCookie},              // none
		{remote4, netip.MustParseAddrPort("127.0.0.1:1"), cookieOf(t, server4)}, // none either
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
	late := []Query{{local, remote, cookieOf(t, client)}}
	other := []Query{{remote, local, cookieOf(t, server)}}
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
