package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Query names a TCP connection: its addresses, the cookie of its socket (SO_COOKIE), which may
// be AnyCookie, and the interface that the socket is bound to (0: none). The kernel finds a socket
// that is bound to one only if it is named.
type Query struct {
	Local, Remote netip.AddrPort
	Cookie        uint64
	Device        uint32
}

// An Answer is what the kernel says to a Query. Socket means nothing if there is an error. The
// errors are those of Conn.Get.
type Answer struct {
	Socket Socket
	Err    error
}

const (
	// maxBatch is how many questions are asked at once. The kernel keeps the answers to all
	// of them until they are read, and by default it has room for more than this.
	maxBatch = 32
	// answerSize is more than the kernel answers to one question.
	answerSize = 1024
)

// Batch asks about many TCP connections in two system calls, where Conn takes three for each
// and a buffer besides. The kernel answers before a question is sent, so nothing waits. A Batch
// is not safe for concurrent use.
type Batch struct {
	fd     int
	seq    uint32 // of the first question
	out    []byte
	in     [maxBatch][answerSize]byte
	parts  [maxBatch]unix.Iovec
	heads  [maxBatch]multiple
	answer []Answer
	visit  func(i int, message []byte) // of Look; nil: Get
}

// multiple is struct mmsghdr (recvmmsg(2)).
type multiple struct {
	unix.Msghdr
	n uint32
}

// NewBatch opens a Batch.
func NewBatch() (*Batch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", os.NewSyscallError("socket", err))
	}
	b := &Batch{fd: fd}
	for i := range b.parts {
		b.parts[i].Base = &b.in[i][0]
		b.parts[i].SetLen(answerSize)
		b.heads[i].Iov = &b.parts[i]
		b.heads[i].SetIovlen(1)
	}
	return b, nil
}

// Close closes the netlink socket.
func (b *Batch) Close() error { return unix.Close(b.fd) }

// Get returns what the kernel says about each connection. The answers are in the order of the
// questions, and valid until the next call.
func (b *Batch) Get(list []Query) []Answer {
	b.answer = b.answer[:0]
	for len(list) > 0 {
		n := min(len(list), maxBatch)
		b.ask(list[:n])
		list = list[n:]
	}
	return b.answer
}

// Look is Get, and calls visit for each socket that is found, with its place in the list, and with
// its struct inet_diag_msg and attributes, which are valid during the call only.
func (b *Batch) Look(list []Query, visit func(i int, message []byte)) []Answer {
	b.visit = visit
	defer func() { b.visit = nil }()
	return b.Get(list)
}

// ask asks questions at once, and adds their answers.
func (b *Batch) ask(list []Query) {
	first := len(b.answer)
	b.seq += maxBatch // an answer that was left to an earlier question has another number
	b.out = b.out[:0]
	open := 0
	for i, q := range list {
		b.answer = append(b.answer, Answer{Err: ErrNotFound})
		if !q.Local.Addr().IsValid() || !q.Remote.Addr().IsValid() {
			continue
		}
		b.answer[first+i].Err = errNoAnswer
		open++
		b.out = binary.NativeEndian.AppendUint32(b.out, unix.NLMSG_HDRLEN+requestSize)
		b.out = binary.NativeEndian.AppendUint16(b.out, byFamily)
		b.out = binary.NativeEndian.AppendUint16(b.out, unix.NLM_F_REQUEST)
		b.out = binary.NativeEndian.AppendUint32(b.out, b.seq+uint32(i))
		b.out = binary.NativeEndian.AppendUint32(b.out, 0) // the kernel knows whose it is
		b.out = appendRequest(b.out, unix.IPPROTO_TCP, q.Local, q.Remote, q.Cookie)
		binary.NativeEndian.PutUint32(b.out[len(b.out)-requestSize+offsetBound:], q.Device)
	}
	if open == 0 {
		return
	}
	err := unix.Sendto(b.fd, b.out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err != nil {
		b.fail(first, os.NewSyscallError("sendto", err))
		return
	}
	for open > 0 {
		n, err := b.receive(open)
		if err != nil {
			b.fail(first, err)
			return
		}
		for i := range n {
			if b.accept(first, i) {
				open--
			}
		}
	}
}

var errNoAnswer = errors.New("sock_diag: no answer")

// fail says why there is no answer to the questions from one on.
func (b *Batch) fail(from int, err error) {
	for i := from; i < len(b.answer); i++ {
		if a := &b.answer[i]; errors.Is(a.Err, errNoAnswer) {
			a.Err = fmt.Errorf("%w: %w", errNoAnswer, err)
		}
	}
}

// receive reads up to most answers, and returns how many it has read.
func (b *Batch) receive(most int) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.heads[0])), uintptr(most), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("recvmmsg", errno)
		}
	}
}

// accept takes the answer in a buffer. It returns false if that answers none of the open
// questions, the first of which is at the place first of the list.
func (b *Batch) accept(first, buffer int) bool {
	answers := b.answer[first:]
	message := b.in[buffer][:min(b.heads[buffer].n, answerSize)]
	i, a, ok := parseAnswer(message, b.seq)
	if !ok || i >= len(answers) || !errors.Is(answers[i].Err, errNoAnswer) {
		return false
	}
	if answers[i] = a; a.Err == nil && b.visit != nil {
		b.visit(first+i, message[unix.NLMSG_HDRLEN:binary.NativeEndian.Uint32(message)])
	}
	return true
}

// parseAnswer reads a netlink message, and tells which of the questions from the number first
// on it answers.
func parseAnswer(m []byte, first uint32) (i int, a Answer, ok bool) {
	if len(m) < unix.NLMSG_HDRLEN {
		return 0, a, false
	}
	i = int(binary.NativeEndian.Uint32(m[8:]) - first)
	if i < 0 || i >= maxBatch {
		return 0, a, false
	}
	size, typ := binary.NativeEndian.Uint32(m), binary.NativeEndian.Uint16(m[4:])
	if size < unix.NLMSG_HDRLEN || uint64(size) > uint64(len(m)) {
		return i, Answer{Err: fmt.Errorf("sock_diag: an answer of %d bytes that says %d", len(m), size)}, true
	}
	data := m[unix.NLMSG_HDRLEN:size]
	switch {
	case typ == unix.NLMSG_ERROR && len(data) >= 4:
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
		if a.Err = errno; errno == unix.ENOENT || errno == unix.ESTALE { // ESTALE: the cookie differs
			a.Err = ErrNotFound
		}
	case typ != byFamily:
		a.Err = fmt.Errorf("sock_diag: an answer of type %d", typ)
	default:
		if a.Socket, a.Err = parse(data); a.Err == nil && a.Socket.State == tcpListen {
			a = Answer{Err: ErrNotFound}
		}
	}
	return i, a, true
}
