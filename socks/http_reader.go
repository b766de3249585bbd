package socks

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"
)

// httpReader reads messages from a connection. Its buffer is borrowed while there is
// something in it.
type httpReader struct {
	s        *Server
	conn     net.Conn
	lazy     lazyRead
	borrowed *[bufferSize]byte // what buf is of; nil if it was made for a long header
	buf      []byte            // nil if nothing is there
	start    int               // of what was not taken yet; the end is buf's
	most     int64             // of Server.heads
	held     int64             // of that

	idle    time.Duration // for each read; 0: who reads sets the deadline
	limit   time.Duration // for a head that does not come in one piece; 0: there is one, or idle holds
	renewed time.Time     // the deadline, last
}

func (r *httpReader) init(s *Server, nc net.Conn, ahead []byte, most int64) {
	r.s, r.conn, r.most = s, nc, most
	r.lazy.init(s, nc)
	if len(ahead) > 0 {
		r.borrowed = s.bytes.buffer()
		r.buf = r.borrowed[:copy(r.borrowed[:], ahead)] // less than a buffer of resources.reader
	}
}

// ahead is what was read and not taken.
func (r *httpReader) ahead() []byte { return r.buf[r.start:] }

// take takes n bytes of ahead.
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

// grow makes the buffer twice as large, if all headers together do not take too much.
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

// settle gives the borrowed buffer back while the rest of a header is awaited, which a
// hostile client never sends.
func (r *httpReader) settle() {
	if rest := r.ahead(); r.borrowed != nil && len(rest) <= freeHead/2 {
		own := append(make([]byte, 0, max(2*len(rest), 1024)), rest...)
		r.release()
		r.buf = own
	}
}

// fill reads more. A buffer that is full grows.
func (r *httpReader) fill() (n int, err error) {
	r.patience()
	if r.buf == nil {
		r.borrowed, n, err = r.lazy.read()
		if n > 0 {
			r.buf = r.borrowed[:n]
		}
		return n, err
	}
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

// patience moves the deadline on, but not for each read: that costs.
func (r *httpReader) patience() {
	if r.idle == 0 {
		return
	}
	if now := time.Now(); now.Sub(r.renewed) > r.idle/4 {
		r.renewed = now
		_ = r.conn.SetReadDeadline(deadline(now, r.idle))
	}
}

// deadline is a time from now, none if that is for ever.
func deadline(now time.Time, wait time.Duration) time.Time {
	if wait == forever {
		return time.Time{}
	}
	return now.Add(wait)
}

// head returns the beginning of the next message up to the empty line, which is
// taken. It is valid until the next fill. The error is io.EOF if there is no
// message.
func (r *httpReader) head() ([]byte, error) {
	seen := 0
	for {
		b := r.ahead()
		if seen == 0 { // empty lines may come before it (RFC 9112 section 2.2)
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
		if r.limit > 0 && r.idle == 0 {
			_ = r.conn.SetReadDeadline(deadline(time.Now(), r.limit))
			r.limit = 0
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

// headEnd finds the end of the first empty line, looking from some place on; 0 if
// there is none.
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
