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
	// Reads that fill the buffer this many times in a row show that it is much
	// data, so that splicing pays. A few large objects stay below.
	spliceAfter = 8
	// When splicing brings less than this at a time, this many times in a row,
	// copying is as good, and others may need the pipe.
	spliceLittle      = 16 << 10
	spliceLittleTimes = 32

	// A pipe of this size halves the system calls per byte in comparison with the
	// kernel's 64 KiB. All of them together stay well below the 64 MiB that
	// an unprivileged user may have by default (pipe-user-pages-soft, pipe(7)).
	pipeSize = 512 << 10
	maxPipes = 64
)

// copyRaw moves bytes until the end of src. It waits without a buffer or a pipe
// and borrows one when there is something to read.
//
// Small amounts are copied; a large transfer is spliced, without passing
// through this process, if one of the pipes is free. Measured over loopback, a
// gigabyte spliced costs this process 0.2 to 0.3 s of processor time, copied 0.6
// to 0.75 s. With 64 transfers at a time the peers, being on the same host, pay
// some of that back (1.0 s in place of 0.6 s), because the bytes have left the
// cache when they read them; peers elsewhere do not.
func (f *flow) copyRaw(src rawConn) error {
	rc, err := src.SyscallConn()
	if err != nil {
		return err
	}
	var (
		read copyRead
		full int // times in a row
		sp   splicer
	)
	read.s = f.s
	step := read.step // one closure for all reads
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
			case errors.Is(err, errNoPipe): // perhaps later
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
			return &net.OpError{Op: "read", Net: "tcp", Source: src.LocalAddr(), Addr: src.RemoteAddr(), Err: os.NewSyscallError("read", read.err)}
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

// copyRead is one read.
type copyRead struct {
	s   *Server
	buf *[bufferSize]byte // the caller's, if n > 0
	n   int
	err error
}

func (r *copyRead) step(fd uintptr) (done bool) {
	r.buf = r.s.bytes.buffer()
	for {
		r.n, r.err = unix.Read(int(fd), r.buf[:])
		if !errors.Is(r.err, unix.EINTR) {
			break
		}
	}
	if r.n <= 0 {
		r.n = 0
		r.s.bytes.putBuffer(r.buf)
	}
	return !errors.Is(r.err, unix.EAGAIN)
}

// lazyRead reads a connection and borrows a buffer only when there is something.
type lazyRead struct {
	copyRead
	conn net.Conn
	rc   syscall.RawConn // nil if it has no descriptor
	do   func(fd uintptr) bool
}

func (l *lazyRead) init(s *Server, nc net.Conn) {
	l.s, l.conn = s, nc
	if raw, ok := nc.(rawConn); ok {
		if rc, err := raw.SyscallConn(); err == nil {
			l.rc, l.do = rc, l.step
		}
	}
}

// read returns a buffer with n bytes, nil at the end or after an error.
func (l *lazyRead) read() (buf *[bufferSize]byte, n int, err error) {
	if l.rc == nil {
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

// Reasons why nothing was moved: these sockets or this kernel cannot; all pipes
// are in use.
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

// fill splices from the source into a pipe that it holds only if something came.
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

// run moves bytes until there is no more, which is the end, or until it is not
// worth it any more.
func (sp *splicer) run() (end bool, err error) {
	defer func() {
		if sp.pipe != nil {
			sp.pipe.discard() // with bytes in it
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
		// Nothing is in it: somebody else may need it while this waits.
		sp.f.s.bytes.pipes.put(sp.pipe)
		sp.pipe = nil
	}
	return false, nil
}

// write moves what it can from the pipe to the destination, and notes a failure
// as flow.write does.
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

// unspliced copies what is in the pipe, because the destination does not take
// it from there.
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

// pipe is what splice(2) needs between two sockets.
type pipe struct{ r, w, size int }

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &pipe{r: fds[0], w: fds[1]}
	size, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil { // beyond a limit: as it is, then
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

// pipePool keeps empty pipes.
type pipePool struct {
	mu     sync.Mutex
	free   []*pipe
	made   int
	closed bool
}

// get returns a pipe, nil if there is none.
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

// lost notes that a pipe does not come back.
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
