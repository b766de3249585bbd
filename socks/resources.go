package socks

import (
	"bufio"
	"io"
	"sync"
)

const (
	// Long enough for a SOCKS handshake and most HTTP headers; longer ones are
	// read in pieces.
	readerSize = 2048
	// Where copying was fastest: below, system calls count; above, the cache is
	// left.
	bufferSize = 64 << 10
)

// resources are what connections borrow for as long as they have something to
// do, so that an idle one holds none.
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

// release gives a reader back, and returns what it has read ahead.
func (r *resources) release(br *bufio.Reader) []byte {
	var ahead []byte
	if n := br.Buffered(); n > 0 {
		b, _ := br.Peek(n) // they are there
		ahead = append(ahead, b...)
	}
	r.putReader(br)
	return ahead
}

func (r *resources) buffer() *[bufferSize]byte     { return r.buffers.Get().(*[bufferSize]byte) }
func (r *resources) putBuffer(b *[bufferSize]byte) { r.buffers.Put(b) }

// read reads into a borrowed buffer, nil if nothing came.
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
