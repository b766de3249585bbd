package mptcp

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func FuzzDecodeSockets(f *testing.F) {
	base := bytes.Repeat([]byte{0}, diagMsgLen)
	base[0] = unix.AF_INET
	f.Add(base)
	f.Add(append(bytes.Clone(base), hexed("1800 1300 1400 0380 0800 0200 44332211 0800 0800 43000000")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := decodeConnection(b); ok && !c.Local.IsValid() {
			t.Errorf("a connection without address: %+v", c)
		}
		if _, s, _, ok := decodeSubflow(b); ok && !s.Local.IsValid() {
			t.Errorf("a subflow without address: %+v", s)
		}
	})
}

func TestDecodeSubflow(t *testing.T) {
	b := make([]byte, diagMsgLen)
	b[0], b[1] = unix.AF_INET, 1
	copy(b[4:], []byte{0xb3, 0xd8, 0, 80})
	copy(b[8:], []byte{10, 1, 0, 2})
	copy(b[24:], []byte{192, 0, 2, 1})
	b = append(b, hexed("3c00 1300"+"0a00 0100 6d707463 7000 0000"+"2c00 0300"+"0800 0100 01000000"+"0800 0200 44332211"+"0800 0800 63000000"+"0500 0900 02000000"+"0500 0a00 01000000")...)
	token, s, server, ok := decodeSubflow(b)
	want := SubflowInfo{
		Local: ap("10.1.0.2:46040"), Remote: ap("192.0.2.1:80"), LocalID: 1, RemoteID: 2, First: true, Backup: true, Established: true,
	}
	if !ok || server || token != 0x11223344 {
		t.Errorf("ok %v, server %v, token %v", ok, server, token)
	}
	if diff := cmp.Diff(want, s, comparer); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A connection that its process has closed belongs to nobody, and not to root.
func TestOwner(t *testing.T) {
	for _, tt := range []struct {
		conn Connection
		ok   bool
	}{
		{Connection{UID: 1000, Inode: 7}, true},
		{Connection{Inode: 7}, true},
		{Connection{}, false},
		{Connection{UID: 1000}, false},
	} {
		if uid, ok := tt.conn.Owner(); ok != tt.ok || ok && uid != tt.conn.UID {
			t.Errorf("%+v: user %d, %v", tt.conn, uid, ok)
		}
	}
}

// Every user can have many sockets. However many there are, they are not in memory at once.
func TestManySockets(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const many = 400
	for range many {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := SocketOwner(1 << 40); !errors.Is(err, os.ErrNotExist) { // no inode is so large
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// The buffer takes 64 KiB. The kernel says some 450 bytes of each end of a connection.
	if took := after.TotalAlloc - before.TotalAlloc; took > 128<<10 {
		t.Errorf("to look at %d connections took %d bytes", many, took)
	}
}
