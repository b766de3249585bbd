// Package dump reads lists from the kernel by netlink, message by message. However long a list
// is, only what the kernel sends at once is in memory.
package dump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// timeout bounds a dump (M11). The kernel answers within the system call, so that
// only a kernel in great trouble comes near it.
const timeout = time.Second

// bufferSize is large enough for whatever the kernel sends in one read. The kernel
// builds dumps in pieces of at most 32 KiB, whatever the size of the buffer, and never
// splits a message.
const bufferSize = 64 << 10

// ErrTruncated means that a netlink message is shorter than it says.
var ErrTruncated = errors.New("netlink message is truncated")

// Dumper is a netlink socket for dumps, with one reused buffer. With a general library,
// 5000 sockets ten times a second would cost 50 000 allocations. It is not safe for
// concurrent use.
type Dumper struct {
	// Timeout bounds a dump. New sets one that is enough to read what the kernel has at hand.
	Timeout time.Duration

	family int
	fd     int // -1: not open
	seq    uint32
	buf    []byte
}

// New makes a Dumper for a family of netlink. The first dump opens the socket.
func New(family int) *Dumper {
	return &Dumper{Timeout: timeout, family: family, fd: -1, buf: make([]byte, bufferSize)}
}

// Open opens the socket, unless it is open. Dump does so, too. The socket is of the network
// namespace of the calling thread.
func (d *Dumper) Open() error {
	if d.fd >= 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, d.family)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(d.Timeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("limit netlink wait: %w", err)
	}
	d.fd = fd
	return nil
}

// Close closes the socket; the next dump opens another one.
func (d *Dumper) Close() error {
	if d.fd < 0 {
		return nil
	}
	err := unix.Close(d.fd)
	d.fd = -1
	return err
}

// Dump sends a request, whose header it fills in, and calls visit for each message of
// the answer. The body is valid during the call only. interrupted says that the
// kernel's table changed meanwhile, so that entries may be missing or doubled
// (NLM_F_DUMP_INTR).
//
// After an error the socket is closed. So neither the rest of an answer nor an overrun
// (ENOBUFS) can disturb the next dump.
func (d *Dumper) Dump(request []byte, visit func(kind uint16, body []byte)) (interrupted bool, err error) {
	if err := d.Open(); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	d.seq++
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(request[8:], d.seq)
	if err := unix.Send(d.fd, request, 0); err != nil {
		return false, fmt.Errorf("send netlink dump: %w", err)
	}
	deadline := time.Now().Add(d.Timeout)
	for {
		n, from, err := unix.Recvfrom(d.fd, d.buf, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			n = 0
		case err != nil:
			return interrupted, fmt.Errorf("receive netlink dump: %w", err)
		case n > len(d.buf):
			return interrupted, fmt.Errorf("receive netlink dump: %w", ErrTruncated)
		}
		// Only the kernel has port 0. Other processes may send to this socket if they
		// are root.
		if sa, ok := from.(*unix.SockaddrNetlink); ok && sa.Pid == 0 {
			done, intr, err := Walk(d.buf[:n], d.seq, visit)
			interrupted = interrupted || intr
			if err != nil {
				return interrupted, fmt.Errorf("netlink dump: %w", err)
			}
			if done {
				return interrupted, nil
			}
		}
		if time.Now().After(deadline) {
			return interrupted, fmt.Errorf("receive netlink dump: %w", unix.ETIMEDOUT)
		}
	}
}

const (
	// HeaderLen is the length of a message's header, AttrLen of an attribute's.
	HeaderLen = unix.SizeofNlMsghdr
	AttrLen   = unix.SizeofNlAttr
	// attrType masks the flags in an attribute's type (NLA_TYPE_MASK).
	attrType = 1<<14 - 1
)

// Walk calls visit for those messages of one read that answer request seq.
func Walk(b []byte, seq uint32, visit func(kind uint16, body []byte)) (done, interrupted bool, err error) {
	for len(b) > 0 {
		if len(b) < HeaderLen {
			return false, interrupted, ErrTruncated
		}
		size := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		flags := binary.NativeEndian.Uint16(b[6:])
		if size < HeaderLen || size > len(b) {
			return false, interrupted, ErrTruncated
		}
		body := b[HeaderLen:size]
		if binary.NativeEndian.Uint32(b[8:]) == seq {
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			switch kind {
			case unix.NLMSG_NOOP:
			case unix.NLMSG_DONE:
				// The last message of a dump says whether it failed halfway.
				return true, interrupted, status(body)
			case unix.NLMSG_ERROR:
				if err := status(body); err != nil {
					return false, interrupted, err
				}
			case unix.NLMSG_OVERRUN:
				return false, interrupted, unix.ENOBUFS
			default:
				visit(kind, body)
			}
		}
		b = b[min(Align(size), len(b)):]
	}
	return false, interrupted, nil
}

// status returns the error in a DONE or ERROR message.
func status(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

// Attribute splits the first attribute off b. It returns io.EOF if none is left.
func Attribute(b []byte) (kind uint16, data, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, nil, io.EOF
	}
	if len(b) < AttrLen {
		return 0, nil, nil, ErrTruncated
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < AttrLen || size > len(b) {
		return 0, nil, nil, ErrTruncated
	}
	kind = binary.NativeEndian.Uint16(b[2:]) & attrType
	return kind, b[AttrLen:size], b[min(Align(size), len(b)):], nil
}

// Align rounds up to a multiple of 4, where netlink messages and attributes start.
func Align(n int) int { return (n + 3) &^ 3 }
