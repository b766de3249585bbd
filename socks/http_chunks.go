package socks

import "fmt"

const (
	maxChunkLine    = 4 << 10 // a chunk's size and its extensions
	maxHTTPTrailers = 64 << 10
)

// chunkScanner finds the end of a chunked body (RFC 9112 section 7.1). It takes the
// body in pieces of any size. The zero value is at the body's beginning.
type chunkScanner struct {
	strict bool // lines must end with CRLF, not with LF alone

	state  chunkState
	left   uint64 // bytes that are left of the chunk
	digits int    // number of digits of its size
	line   int    // length of the size line
	total  int    // length of all trailers
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer // at the beginning of a line
	chunkTrailerLine
	chunkTrailerLF
	chunkEndLF
	chunkDone
)

// scan takes the next bytes. It returns how many of them belong to the body, and
// whether the body ends with them. If data is not nil, it is called with the contents
// of the chunks.
func (s *chunkScanner) scan(b []byte, data func([]byte)) (n int, done bool, err error) {
	for n < len(b) {
		if s.state == chunkData {
			k := int(min(s.left, uint64(len(b)-n)))
			if data != nil {
				data(b[n : n+k])
			}
			n += k
			if s.left -= uint64(k); s.left == 0 {
				s.state = chunkDataCR
			}
			continue
		}
		if !s.step(b[n]) {
			return n, false, fmt.Errorf("%w: a chunk with the byte %#02x in the wrong place", errHTTPFraming, b[n])
		}
		n++
		if s.state == chunkDone {
			return n, true, nil
		}
	}
	return n, false, nil
}

// step takes one byte that is not a chunk's data. It tells whether the byte is allowed
// at this place.
func (s *chunkScanner) step(c byte) bool {
	lf := c == '\n' && !s.strict
	switch s.state {
	case chunkSize, chunkExtension:
		return s.sizeLine(c, lf)
	case chunkSizeLF:
		return c == '\n' && s.sized()
	case chunkDataCR:
		switch {
		case c == '\r':
			s.state = chunkDataLF
		case lf:
			s.state = chunkSize
		default:
			return false
		}
	case chunkDataLF:
		s.state = chunkSize
		return c == '\n'
	case chunkTrailer:
		switch {
		case c == '\r':
			s.state = chunkEndLF
		case lf:
			s.state = chunkDone
		default:
			s.state = chunkTrailerLine
			return c != '\n'
		}
	case chunkTrailerLine:
		s.total++
		switch {
		case c == '\r':
			s.state = chunkTrailerLF
		case lf:
			s.state = chunkTrailer
		default:
			return c != '\n' && s.total <= maxHTTPTrailers
		}
	case chunkTrailerLF:
		s.state = chunkTrailer
		return c == '\n'
	case chunkEndLF:
		s.state = chunkDone
		return c == '\n'
	}
	return true
}

func (s *chunkScanner) sizeLine(c byte, lf bool) bool {
	if s.line++; s.line > maxChunkLine {
		return false
	}
	if v := hexDigit(c); s.state == chunkSize && v >= 0 {
		s.left = s.left<<4 | uint64(v)
		s.digits++
		return s.digits <= 15
	}
	if s.digits == 0 {
		return false
	}
	switch {
	case c == '\r':
		s.state = chunkSizeLF
	case lf:
		return s.sized()
	case s.state == chunkSize:
		s.state = chunkExtension
		return c == ';' || c == ' ' || c == '\t'
	default:
		return c >= ' ' && c != 0x7f || c == '\t'
	}
	return true
}

func (s *chunkScanner) sized() bool {
	s.state = chunkData
	if s.left == 0 {
		s.state = chunkTrailer
	}
	s.digits, s.line = 0, 0
	return true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
