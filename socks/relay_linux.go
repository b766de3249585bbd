package socks

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// This many full buffers in a row show that there is much data, so that splicing
	// pays. A few large objects stay below the limit.
	spliceAfter = 8
	// If splicing moves less than this, this many times in a row, copying is as good
	// and the pipe is left to others.
	spliceLittle      = 16 << 10
	spliceLittleTimes = 32

	// A pipe of this size halves the system calls per byte in comparison with the
	// kernel's 64 KiB. All of them together stay well below the 64 MiB that
	// an unprivileged user may have by default (pipe-user-pages-soft, pipe(7)).
	pipeSize = 512 << 10
	maxPipes = 64
)

// copyRaw moves bytes until src ends. While it waits it holds neither buffer nor pipe;
// it borrows one when there is something to read.
//
// Small amounts are copied. A large transfer is spliced, if a pipe is free: its bytes
// do not pass through this process. Measured over loopback, a gigabyte costs this
// process 0.2 to 0.3 s of processor time if spliced, and 0.6 to 0.75 s if copied. With
// 64 transfers at a time, peers on the same host lose some of that (1.0 s in place of
// 0.6 s), because the bytes are no longer in the cache when they read them. Other peers
// do not.
func (f *flow) copyRaw(src rawConn) error {
	rc, err := src.SyscallConn()
	if err != nil {
		return err
	}
	var (
		read copyRead
		full int // full buffers in a row
		sp   splicer
	)
	read.s = f.s
	step := read.step // one closure for all reads saves allocations
	dst, spliceable := f.dst.conn.(rawConn)
	for {
		if spliceable && full >= spliceAfter {
			if sp.rc == nil {
				if sp.init(f, rc, dst) != nil {
					spliceable = false
					continue
				}
			}
			end, err := sp.run()
			switch {
			case errors.Is(err, errCannotSplice):
				spliceable = false
			case errors.Is(err, errNoPipe): // a pipe may be free later
			case errors.Is(err, os.ErrDeadlineExceeded):
				if err := f.rest(rc); err != nil {
					return err
				}
			case err != nil || end:
				return err
			}
			full = 0
		}
		if err := rc.Read(step); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = f.rest(rc)
			}
			if err != nil {
				return err
			}
			continue
		}
		if read.err != nil {
			return opError(src, "read", read.err)
		}
		if read.n == 0 {
			return nil
		}
		if read.n == bufferSize {
			full++
		} else {
			full = 0
		}
		err := f.write(read.buf[:read.n])
		f.s.bytes.putBuffer(read.buf)
		if err != nil {
			return err
		}
	}
}

// copyRead reads once into a borrowed buffer.
type copyRead struct {
	s   *Server
	buf *[bufferSize]byte // belongs to the caller if n > 0
	n   int
	err error
}

func (r *copyRead) step(fd uintptr) (done bool) {
	r.buf = r.s.bytes.buffer()
	if r.n, r.err = ignoringEINTR(unix.Read, fd, r.buf[:]); r.n == 0 {
		r.s.bytes.putBuffer(r.buf)
	}
	return !errors.Is(r.err, unix.EAGAIN)
}

// lazyRead reads from a connection. It borrows a buffer only when there is something to
// read.
type lazyRead struct {
	copyRead
	conn net.Conn
	rc   syscall.RawConn // nil if the connection has no descriptor
	do   func(fd uintptr) bool
	wait func()
}

// init prepares l for reading nc. wait is called before each wait for something to read.
func (l *lazyRead) init(s *Server, nc net.Conn, wait func()) {
	l.s, l.conn, l.rc, l.wait = s, nc, rawOf(nc), wait
	l.do = func(fd uintptr) (done bool) {
		if done = l.step(fd); !done {
			l.wait()
		}
		return done
	}
}

// read returns a buffer with n bytes. The buffer is nil at the end and after an error.
func (l *lazyRead) read() (buf *[bufferSize]byte, n int, err error) {
	if l.rc == nil {
		l.wait()
		return l.s.bytes.read(l.conn)
	}
	if err := l.rc.Read(l.do); err != nil {
		return nil, 0, err
	}
	switch {
	case l.err != nil:
		return nil, 0, os.NewSyscallError("read", l.err)
	case l.n == 0:
		return nil, 0, io.EOF
	}
	return l.buf, l.n, nil
}

// Reasons why nothing was spliced: these sockets or this kernel cannot do it, or all
// pipes are in use.
var (
	errCannotSplice = errors.New("cannot splice")
	errNoPipe       = errors.New("no pipe is free")
)

// splicer moves bytes of one direction through a pipe.
type splicer struct {
	f        *flow
	rc, wc   syscall.RawConn
	in, out  func(fd uintptr) bool
	pipe     *pipe
	n, moved int
	err      error
}

func (sp *splicer) init(f *flow, rc syscall.RawConn, dst rawConn) error {
	wc, err := dst.SyscallConn()
	if err != nil {
		return err
	}
	*sp = splicer{f: f, rc: rc, wc: wc}
	sp.in, sp.out = sp.fill, sp.drain
	return nil
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// fill splices from the source into a pipe. It keeps the pipe only if there are bytes
// in it.
func (sp *splicer) fill(fd uintptr) (done bool) {
	if sp.pipe == nil {
		if sp.pipe = sp.f.s.bytes.pipes.get(); sp.pipe == nil {
			sp.n, sp.err = 0, errNoPipe
			return true
		}
	}
	for {
		var n int64
		n, sp.err = unix.Splice(int(fd), nil, sp.pipe.w, nil, sp.pipe.size, spliceFlags)
		sp.n = int(max(n, 0))
		if !errors.Is(sp.err, unix.EINTR) {
			break
		}
	}
	if sp.n == 0 {
		sp.f.s.bytes.pipes.put(sp.pipe)
		sp.pipe = nil
	}
	if errors.Is(sp.err, unix.EINVAL) {
		sp.err = errCannotSplice
	}
	return !errors.Is(sp.err, unix.EAGAIN)
}

// drain splices from the pipe to the destination.
func (sp *splicer) drain(fd uintptr) (done bool) {
	for {
		var n int64
		n, sp.err = unix.Splice(sp.pipe.r, nil, int(fd), nil, sp.n, spliceFlags)
		sp.moved = int(max(n, 0))
		if !errors.Is(sp.err, unix.EINTR) {
			break
		}
	}
	return !errors.Is(sp.err, unix.EAGAIN)
}

// run moves bytes until the source ends, or until splicing does not pay any more. end
// tells which.
func (sp *splicer) run() (end bool, err error) {
	defer func() {
		if sp.pipe != nil {
			sp.pipe.discard() // it has bytes in it
			sp.f.s.bytes.pipes.lost()
			sp.pipe = nil
		}
	}()
	for little := 0; little < spliceLittleTimes; {
		if err := sp.rc.Read(sp.in); err != nil {
			return false, err
		}
		switch {
		case errors.Is(sp.err, errCannotSplice), errors.Is(sp.err, errNoPipe):
			return false, sp.err
		case sp.err != nil:
			return false, os.NewSyscallError("splice", sp.err)
		case sp.n == 0:
			return true, nil
		case sp.n < spliceLittle:
			little++
		default:
			little = 0
		}
		for sp.n > 0 {
			err := sp.write()
			switch {
			case errors.Is(err, unix.EINVAL):
				return false, sp.unspliced()
			case err != nil:
				return false, err
			}
			sp.n -= sp.moved
			sp.f.n.Add(int64(sp.moved))
		}
		// The pipe is empty. Another direction may need it while this one waits.
		sp.f.s.bytes.pipes.put(sp.pipe)
		sp.pipe = nil
	}
	return false, nil
}

// write moves as many bytes as it can from the pipe to the destination. It notes a
// failure as flow.write does.
func (sp *splicer) write() error {
	dst := sp.f.dst
	dst.writing.Lock()
	defer dst.writing.Unlock()
	err := sp.wc.Write(sp.out)
	switch {
	case err != nil:
	case sp.err != nil:
		err = os.NewSyscallError("splice", sp.err)
	case sp.moved == 0:
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		dst.failed = err
	}
	return err
}

// unspliced copies the bytes that are in the pipe, because the destination cannot be
// spliced to.
func (sp *splicer) unspliced() error {
	b := sp.f.s.bytes.buffer()
	defer sp.f.s.bytes.putBuffer(b)
	for sp.n > 0 {
		n, err := unix.Read(sp.pipe.r, b[:min(sp.n, len(b))])
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if err := sp.f.write(b[:n]); err != nil {
			return err
		}
		sp.n -= n
	}
	sp.f.s.bytes.pipes.put(sp.pipe)
	sp.pipe = nil
	return errCannotSplice
}

// pipe is the pipe that splice(2) needs between two sockets. size is its capacity.
type pipe struct{ r, w, size int }

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &pipe{r: fds[0], w: fds[1]}
	size, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil { // not allowed: keep the size that it has
		if size, err = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err != nil {
			p.discard()
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	p.size = size
	return p, nil
}

func (p *pipe) discard() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// pipePool holds the pipes that are not in use, which are empty.
type pipePool struct {
	mu     sync.Mutex
	free   []*pipe
	made   int
	closed bool
}

// get returns a pipe, or nil if none is free and no more may be made.
func (pp *pipePool) get() *pipe {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if n := len(pp.free); n > 0 {
		p := pp.free[n-1]
		pp.free = pp.free[:n-1]
		return p
	}
	if pp.made >= maxPipes || pp.closed {
		return nil
	}
	p, err := newPipe()
	if err != nil {
		return nil
	}
	pp.made++
	return p
}

func (pp *pipePool) put(p *pipe) {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.closed {
		p.discard()
		return
	}
	pp.free = append(pp.free, p)
}

// lost notes that a pipe is not given back.
func (pp *pipePool) lost() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	pp.made--
}

func (pp *pipePool) close() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	pp.closed = true
	for _, p := range pp.free {
		p.discard()
	}
	pp.free = nil
}
