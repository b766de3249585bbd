package wire

import "io"

// readSize is the first size of a Reader's buffer. It is small because ordinary
// messages have a few hundred bytes. A full buffer grows to maxBuffer.
const (
	readSize  = 2048
	maxBuffer = MaxMessage
)

// Reader reads messages from a stream. The stream may be split anywhere, and may hold
// several messages at once. A Reader never holds more than MaxMessage bytes, and
// between messages only as much memory as short ones need. It is not safe for
// concurrent use.
type Reader struct {
	r    io.Reader
	buf  []byte
	from int   // start of the next message in buf
	to   int   // end of what was read
	scan int   // offset after from up to which the TLVs are known to be complete
	err  error // of r; returned once buf holds no complete message any more
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Reset makes the Reader read from src. It forgets everything but its memory.
func (r *Reader) Reset(src io.Reader) { *r = Reader{r: src, buf: r.buf} }

// Buffered returns how many bytes were read from the stream but do not belong to a
// returned message.
func (r *Reader) Buffered() int { return r.to - r.from }

// Ready tells whether Read returns without reading from the stream.
func (r *Reader) Ready() bool {
	n, err := frame(r.buf[r.from:r.to], r.scan)
	return n >= 0 || err != nil
}

// Read reads one message into m and overwrites all of m.
//
// The error is io.EOF if the stream ends before a message begins, and
// io.ErrUnexpectedEOF if the stream ends inside of one. It is an *Error if the message
// is malformed, and else the stream's own error. In two cases Read can be called again.
// After an *Error that is not Fatal, m holds everything else in the message. After a
// passing error of the stream, such as a deadline, nothing is lost.
func (r *Reader) Read(m *Message) error {
	for {
		b := r.buf[r.from:r.to]
		n, err := frame(b, r.scan)
		if err != nil {
			return err
		}
		if n >= 0 {
			r.from += n
			r.scan = 0
			err := decode(b[:n], m)
			if r.Buffered() == 0 && len(r.buf) > readSize {
				r.buf, r.from, r.to = nil, 0, 0 // long messages are rare, so the large buffer is not kept
			}
			return err
		}
		r.scan = ^n
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// fill reads from the stream once.
func (r *Reader) fill() error {
	if r.err == nil {
		r.makeRoom()
	}
	for tries := 0; r.err == nil; tries++ {
		var n int
		n, r.err = r.r.Read(r.buf[r.to:])
		r.to += n
		if n > 0 {
			return nil
		}
		if tries == 100 { // the same bound as in bufio
			r.err = io.ErrNoProgress
		}
	}
	err := r.err
	if err != io.EOF {
		r.err = nil // the error may be a passing one
	} else if r.Buffered() > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom makes space after to. An incomplete message is always shorter than
// maxBuffer, because frame refuses a longer one as soon as it sees the length.
func (r *Reader) makeRoom() {
	if r.from > 0 {
		copy(r.buf, r.buf[r.from:r.to])
		r.from, r.to = 0, r.to-r.from
	}
	if r.to == len(r.buf) {
		size := readSize
		if r.to > 0 {
			size = maxBuffer
		}
		buf := make([]byte, size)
		copy(buf, r.buf[:r.to])
		r.buf = buf
	}
}
