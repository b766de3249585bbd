package socks

import (
	"bufio"
	"io"
	"sync"
)

const (
	// readerSize is enough for a SOCKS handshake and most HTTP headers. Longer ones are
	// read in pieces.
	readerSize = 2048
	// bufferSize is the size at which copying was fastest. Smaller buffers need more
	// system calls; larger ones do not fit the cache.
	bufferSize = 64 << 10
)

// resources are buffers that connections borrow while they work, so that an idle
// connection holds none.
type resources struct {
	readers sync.Pool // of *bufio.Reader
	buffers sync.Pool // of *[bufferSize]byte
	pipes   pipePool
}

func (r *resources) init() {
	r.readers.New = func() any { return bufio.NewReaderSize(nil, readerSize) }
	r.buffers.New = func() any { return new([bufferSize]byte) }
}

func (r *resources) reader(from io.Reader) *bufio.Reader {
	br := r.readers.Get().(*bufio.Reader)
	br.Reset(from)
	return br
}

func (r *resources) putReader(br *bufio.Reader) {
	br.Reset(nil)
	r.readers.Put(br)
}

// release gives br back. It returns the bytes that br has read ahead.
func (r *resources) release(br *bufio.Reader) []byte {
	var ahead []byte
	if n := br.Buffered(); n > 0 {
		b, _ := br.Peek(n) // Peek cannot fail, because they are buffered
		ahead = append(ahead, b...)
	}
	r.putReader(br)
	return ahead
}

func (r *resources) buffer() *[bufferSize]byte     { return r.buffers.Get().(*[bufferSize]byte) }
func (r *resources) putBuffer(b *[bufferSize]byte) { r.buffers.Put(b) }

// read reads into a borrowed buffer. The buffer is nil if nothing was read.
func (r *resources) read(from io.Reader) (*[bufferSize]byte, int, error) {
	b := r.buffer()
	n, err := from.Read(b[:])
	if n == 0 {
		r.putBuffer(b)
		return nil, 0, err
	}
	return b, n, nil
}

func (r *resources) close() { r.pipes.close() }
