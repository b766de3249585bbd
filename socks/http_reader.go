package socks

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"
)

// httpReader reads messages from a connection. It borrows a buffer, and gives the
// buffer back as soon as that is empty.
type httpReader struct {
	s        *Server
	conn     net.Conn
	lazy     lazyRead
	borrowed *[bufferSize]byte // the array of buf; nil if buf was made for a long header
	buf      []byte            // nil if empty
	start    int               // of the bytes that were not taken yet; they end with buf
	most     int64             // how much all readers may take from Server.heads
	held     int64             // how much this one has taken from there

	idle    time.Duration // for each read that waits; 0: limit counts
	limit   time.Duration // for a head that does not arrive at once; 0: a deadline is set already
	renewed time.Time     // when the deadline was last moved
}

func (r *httpReader) init(s *Server, nc net.Conn, ahead []byte, most int64) {
	r.s, r.conn, r.most = s, nc, most
	r.lazy.init(s, nc, r.patience)
	if len(ahead) > 0 {
		r.borrowed = s.bytes.buffer()
		r.buf = r.borrowed[:copy(r.borrowed[:], ahead)] // less than a buffer of resources.reader
	}
}

// ahead returns the bytes that were read but not taken.
func (r *httpReader) ahead() []byte { return r.buf[r.start:] }

// take takes the first n bytes of ahead.
func (r *httpReader) take(n int) {
	if r.start += n; r.start == len(r.buf) {
		r.release()
	}
}

func (r *httpReader) release() {
	if r.borrowed != nil {
		r.s.bytes.putBuffer(r.borrowed)
	}
	r.s.heads.give(r.held)
	r.borrowed, r.buf, r.start, r.held = nil, nil, 0, 0
}

// grow doubles the buffer. It fails if all headers together would take too much memory.
func (r *httpReader) grow() error {
	rest, size := r.ahead(), 2*cap(r.buf)
	held := max(0, int64(size)-freeHead)
	if !r.s.heads.take(held, r.most) {
		return errHTTPHeadSize
	}
	grown := append(make([]byte, 0, size), rest...)
	r.release()
	r.buf, r.held = grown, held
	return nil
}

// settle gives the borrowed buffer back while the rest of a header is awaited, because
// a hostile client never sends the rest.
func (r *httpReader) settle() {
	if rest := r.ahead(); r.borrowed != nil && len(rest) <= freeHead/2 {
		own := append(make([]byte, 0, max(2*len(rest), 1024)), rest...)
		r.release()
		r.buf = own
	}
}

// fill reads more bytes. If the buffer is full, it grows.
func (r *httpReader) fill() (n int, err error) {
	if r.buf == nil {
		r.borrowed, n, err = r.lazy.read()
		if n > 0 {
			r.buf = r.borrowed[:n]
		}
		return n, err
	}
	r.patience()
	if len(r.buf) == cap(r.buf) {
		if r.start > 0 {
			r.buf = r.buf[:copy(r.buf, r.ahead())]
		} else if err := r.grow(); err != nil {
			return 0, err
		}
		r.start = 0
	}
	end := len(r.buf)
	n, err = r.conn.Read(r.buf[end:cap(r.buf)])
	r.buf = r.buf[:end+n]
	if n > 0 {
		err = nil
	}
	return n, err
}

// patience sets the deadline of a read that waits. It does not do so for each read,
// because that is expensive.
func (r *httpReader) patience() {
	switch now := time.Now(); {
	case r.idle == 0 && r.limit > 0:
		_ = r.conn.SetReadDeadline(deadline(now, r.limit))
		r.limit = 0
	case r.idle > 0 && now.Sub(r.renewed) > r.idle/4:
		r.renewed = now
		_ = r.conn.SetReadDeadline(deadline(now, r.idle))
	}
}

// deadline returns the time that is wait after now, or no deadline if wait is forever.
func deadline(now time.Time, wait time.Duration) time.Time {
	if wait == forever {
		return time.Time{}
	}
	return now.Add(wait)
}

// head takes and returns the beginning of the next message, up to the empty line. The
// result is valid until the next fill. The error is io.EOF if there is no further
// message.
func (r *httpReader) head() ([]byte, error) {
	seen := 0
	for {
		b := r.ahead()
		if seen == 0 { // empty lines may come before the start line (RFC 9112 section 2.2)
			skip := len(b) - len(bytes.TrimLeft(b, "\r\n"))
			b = b[skip:]
			r.start += skip
		}
		if n := headEnd(b, max(0, seen-2)); n > 0 {
			r.start += n
			return b[:n], nil
		}
		seen = len(b)
		if seen >= maxHTTPHead {
			return nil, errHTTPHeadSize
		}
		if seen > 0 {
			r.settle()
		}
		if _, err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// headEnd returns the end of the first empty line, and 0 if there is none. The search
// begins at from.
func headEnd(b []byte, from int) int {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0
		}
		from += i + 1
		switch rest := b[from:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}
