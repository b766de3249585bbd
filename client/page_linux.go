package client

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/generation"
)

// pageReader reads from a connection to the manager, and takes the page of generations
// that comes with the first answer. Later it reads plainly. The kernel then closes
// whatever descriptors are sent.
type pageReader struct {
	nc    net.Conn
	plain bool
	page  *generation.Page
}

func (r *pageReader) Read(b []byte) (int, error) {
	uc, ok := r.nc.(*net.UnixConn)
	if r.plain || !ok {
		return r.nc.Read(b)
	}
	control := make([]byte, generation.RightsSize())
	n, oobn, _, _, err := uc.ReadMsgUnix(b, control)
	if oobn > 0 {
		// A page that is malformed is ignored, and there are no leases.
		if page, err := generation.Received(control[:oobn]); err == nil && page != nil {
			r.page = page
		}
	}
	return max(n, 0), err // recvmsg(2) returns -1 with an error, and so does ReadMsgUnix
}

// hungUp tells whether the other end has closed an idle connection.
func hungUp(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	n := 0
	var peekErr error
	if err := raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, peekErr = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		return true
	}
	if peekErr != nil {
		return !errors.Is(peekErr, syscall.EAGAIN) && !errors.Is(peekErr, syscall.EINTR)
	}
	return n == 0
}
