package httpintent

import "github.com/socket-intents/mamma/internal/split"

// chunkSize is the size of the pieces in which a store allocates memory.
const chunkSize = 64 << 10

// store keeps bytes that arrived before their turn. They lie within a window that the
// split.Plan bounds, which bounds the store's memory as well.
type store struct {
	chunks map[int64]*[chunkSize]byte // by offset / chunkSize
	free   []*[chunkSize]byte
}

// write keeps b, which begins at offset.
func (s *store) write(offset int64, b []byte) {
	if s.chunks == nil {
		s.chunks = make(map[int64]*[chunkSize]byte)
	}
	for len(b) > 0 {
		c := s.chunks[offset/chunkSize]
		if c == nil {
			if n := len(s.free); n > 0 {
				c, s.free = s.free[n-1], s.free[:n-1]
			} else {
				c = new([chunkSize]byte)
			}
			s.chunks[offset/chunkSize] = c
		}
		n := copy(c[offset%chunkSize:], b)
		offset, b = offset+int64(n), b[n:]
	}
}

// read copies bytes of the span to p, up to the end of one chunk.
func (s *store) read(span split.Span, p []byte) int {
	c := s.chunks[span.From/chunkSize]
	if c == nil {
		return 0
	}
	return copy(p[:min(int64(len(p)), span.Len())], c[span.From%chunkSize:])
}

// drop frees the chunks before an offset.
func (s *store) drop(before, offset int64) {
	for n := before / chunkSize; n < offset/chunkSize; n++ {
		if c := s.chunks[n]; c != nil {
			delete(s.chunks, n)
			s.free = append(s.free, c)
		}
	}
}
