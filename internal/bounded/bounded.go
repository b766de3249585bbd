// Package bounded reads no more than a number of bytes from where there may be more, and
// does not wait for them. Longer input is an error. With an io.LimitReader, the part that
// fits would pass for the whole: a list without its end, or a port without its last digit.
package bounded

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrTooLong means that there is more to read than is taken.
var ErrTooLong = errors.New("too long")

// ErrNotRegular means that something else than a regular file has a file's name.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file for reading. Anything else is an error, such as a FIFO, which
// would have its reader wait until somebody writes to it. Links are followed.
//
// Reading does not wait either. Some files of the kernel pass for regular ones, and have
// their readers wait for what comes next, such as /proc/kmsg. Reading these is an error
// as soon as there is nothing more.
func Open(path string) (*os.File, error) { return open(path, 0) }

// OpenItself is Open, but it does not follow a link at the end of the path.
func OpenItself(path string) (*os.File, error) { return open(path, syscall.O_NOFOLLOW) }

func open(path string, flags int) (*os.File, error) {
	f, err := openNow(path, flags)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openNow opens a file for reading. Neither opening nor reading waits: where there is
// nothing to read, the error is EAGAIN. With os.OpenFile, the Go runtime would wait in
// place of the kernel (poll(2)).
func openNow(path string, flags int) (*os.File, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|flags, 0)
		if err == syscall.EINTR { //nolint:errorlint // as package os compares
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		_ = syscall.SetNonblock(fd, false) // NewFile looks at this, and leaves the descriptor to the kernel
		f := os.NewFile(uintptr(fd), path)
		_ = syscall.SetNonblock(fd, true)
		return f, nil
	}
}

type reader struct {
	in   io.Reader
	left int64
}

// NewReader returns a reader of the first bytes of in, of which there may be most. It
// fails with ErrTooLong where there are more. It is not safe for concurrent use.
func NewReader(in io.Reader, most int64) io.Reader { return &reader{in, most} }

// ReadAll reads in to its end. If in has more than most bytes, it returns the first ones
// and ErrTooLong.
func ReadAll(in io.Reader, most int64) ([]byte, error) { return io.ReadAll(NewReader(in, most)) }

func (r *reader) Read(b []byte) (int, error) {
	if int64(len(b)) > r.left+1 {
		b = b[:r.left+1]
	}
	n, err := r.in.Read(b)
	if int64(n) > r.left {
		n, err = int(r.left), ErrTooLong
	}
	r.left -= int64(n)
	return n, err
}
