package proxy

import (
	"errors"
	"io"
)

// errTooLong means that there is more to read than is taken.
var errTooLong = errors.New("too long")

// boundedReader reads no more than left bytes. Then it fails, unless there are no more: a
// part must not be taken for the whole, as by an io.LimitReader.
type boundedReader struct {
	in   io.Reader
	left int64
}

func bounded(in io.Reader, most int64) io.Reader { return &boundedReader{in, most} }

func (r *boundedReader) Read(b []byte) (int, error) {
	if int64(len(b)) > r.left+1 {
		b = b[:r.left+1]
	}
	n, err := r.in.Read(b)
	if int64(n) > r.left {
		n, err = int(r.left), errTooLong
	}
	r.left -= int64(n)
	return n, err
}
