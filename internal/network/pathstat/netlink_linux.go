package pathstat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// dumpTimeout bounds a dump (M11). The kernel answers within the system call, so that
// only a kernel in great trouble comes near it.
const dumpTimeout = time.Second

// dumpBuffer is large enough for whatever the kernel sends in one read. The kernel
// builds dumps in pieces of at most 32 KiB, whatever the size of the buffer, and never
// splits a message.
const dumpBuffer = 64 << 10

// errTruncated means that a netlink message is shorter than it says.
var errTruncated = errors.New("netlink message is truncated")

// dumper is a netlink socket for dumps, with one reused buffer. With a general library,
// 5000 sockets ten times a second would cost 50 000 allocations. It is not safe for
// concurrent use.
type dumper struct {
	family int
	fd     int // -1: not open
	seq    uint32
	buf    []byte
}

func newDumper(family int) *dumper {
	return &dumper{family: family, fd: -1, buf: make([]byte, dumpBuffer)}
}

func (d *dumper) open() error {
	if d.fd >= 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, d.family)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(dumpTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("limit netlink wait: %w", err)
	}
	d.fd = fd
	return nil
}

// Close closes the socket; the next dump opens another one.
func (d *dumper) Close() error {
	if d.fd < 0 {
		return nil
	}
	err := unix.Close(d.fd)
	d.fd = -1
	return err
}

// dump sends a request, whose header it fills in, and calls visit for each message of
// the answer. The body is valid during the call only. interrupted says that the
// kernel's table changed meanwhile, so that entries may be missing or doubled
// (NLM_F_DUMP_INTR).
//
// After an error the socket is closed. So neither the rest of an answer nor an overrun
// (ENOBUFS) can disturb the next dump.
func (d *dumper) dump(request []byte, visit func(kind uint16, body []byte)) (interrupted bool, err error) {
	if err := d.open(); err != nil {
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
	deadline := time.Now().Add(dumpTimeout)
	for {
		n, from, err := unix.Recvfrom(d.fd, d.buf, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			n = 0
		case err != nil:
			return interrupted, fmt.Errorf("receive netlink dump: %w", err)
		case n > len(d.buf):
			return interrupted, fmt.Errorf("receive netlink dump: %w", errTruncated)
		}
		// Only the kernel has port 0. Other processes may send to this socket if they
		// are root.
		if sa, ok := from.(*unix.SockaddrNetlink); ok && sa.Pid == 0 {
			done, intr, err := walk(d.buf[:n], d.seq, visit)
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
	headerLen = unix.SizeofNlMsghdr
	attrLen   = unix.SizeofNlAttr
	// attrType masks the flags in an attribute's type (NLA_TYPE_MASK).
	attrType = 1<<14 - 1
)

// walk calls visit for those messages of one read that answer request seq.
func walk(b []byte, seq uint32, visit func(kind uint16, body []byte)) (done, interrupted bool, err error) {
	for len(b) > 0 {
		if len(b) < headerLen {
			return false, interrupted, errTruncated
		}
		size := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		flags := binary.NativeEndian.Uint16(b[6:])
		if size < headerLen || size > len(b) {
			return false, interrupted, errTruncated
		}
		body := b[headerLen:size]
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
		b = b[min(align(size), len(b)):]
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

// attribute splits the first attribute off b. It returns io.EOF if none is left.
func attribute(b []byte) (kind uint16, data, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, nil, io.EOF
	}
	if len(b) < attrLen {
		return 0, nil, nil, errTruncated
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < attrLen || size > len(b) {
		return 0, nil, nil, errTruncated
	}
	kind = binary.NativeEndian.Uint16(b[2:]) & attrType
	return kind, b[attrLen:size], b[min(align(size), len(b)):], nil
}

// align rounds up to a multiple of 4, where netlink messages and attributes start.
func align(n int) int { return (n + 3) &^ 3 }
