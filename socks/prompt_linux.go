package socks

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// readOrWait reads from nc into b. It calls wait before it waits, so that a deadline
// need not be set if there is something to read already. Package net offers that for
// descriptors only.
func readOrWait(nc net.Conn, b []byte, wait func()) (n int, err error) {
	rc := rawOf(nc)
	if rc == nil {
		wait()
		return nc.Read(b)
	}
	var failed error
	err = rc.Read(func(fd uintptr) (done bool) {
		n, failed = ignoringEINTR(unix.Read, fd, b)
		if errors.Is(failed, unix.EAGAIN) {
			wait()
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return 0, named(err, "read")
	case failed != nil:
		return 0, opError(nc, "read", failed)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// promptWrite writes to a connection what the kernel takes at once.
type promptWrite struct {
	nc  net.Conn
	rc  syscall.RawConn // nil if the connection has no descriptor
	do  func(fd uintptr) (done bool)
	b   []byte
	n   int
	err error
}

func (w *promptWrite) init(nc net.Conn) {
	w.nc, w.rc, w.do = nc, rawOf(nc), w.step
}

// write returns how many bytes of b were written. It is no error that they are not all.
func (w *promptWrite) write(b []byte) (n int, err error) {
	if w.rc == nil {
		return 0, nil
	}
	w.b, w.n, w.err = b, 0, nil
	err = w.rc.Write(w.do)
	w.b = nil
	switch {
	case err != nil:
		return 0, named(err, "write")
	case w.err != nil:
		return 0, opError(w.nc, "write", w.err)
	}
	return w.n, nil
}

func (w *promptWrite) step(fd uintptr) (done bool) {
	w.n, w.err = ignoringEINTR(unix.Write, fd, w.b)
	if errors.Is(w.err, unix.EAGAIN) {
		w.err = nil
	}
	return true
}

// rawOf returns the descriptor of a connection, nil if it has none.
func rawOf(nc net.Conn) syscall.RawConn {
	raw, ok := nc.(rawConn)
	if !ok {
		return nil
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return nil
	}
	return rc
}

// ignoringEINTR calls read(2) or write(2) until no signal interrupts it.
func ignoringEINTR(call func(int, []byte) (int, error), fd uintptr, b []byte) (n int, err error) {
	for {
		n, err = call(int(fd), b)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// named returns the error of a syscall.RawConn as that of a call of net.Conn, because
// users see it.
func named(err error, call string) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		e.Op = call // nobody else has it
	}
	return err
}

// opError is the error that package net would return.
func opError(nc net.Conn, call string, err error) error {
	return &net.OpError{Op: call, Net: "tcp", Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: os.NewSyscallError(call, err)}
}
