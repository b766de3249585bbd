package wire

import "io"

// readSize is the first size of a Reader's buffer: ordinary messages are a few
// hundred bytes long. It grows to maxBuffer once it is full.
const (
	readSize  = 2048
	maxBuffer = MaxMessage
)

// Reader reads messages from a stream that may be split anywhere and may hold
// several messages at once. It never holds more than MaxMessage bytes, and between
// messages no more than short ones need. It is not safe for concurrent use.
type Reader struct {
	r    io.Reader
	buf  []byte
	from int   // start of the next message in buf
	to   int   // end of what was read
	scan int   // offset behind from up to which TLVs are known to be whole
	err  error // of r, delivered once buf holds no whole message any more
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Reset makes the Reader read from src, forgetting everything it holds but its
// memory.
func (r *Reader) Reset(src io.Reader) { *r = Reader{r: src, buf: r.buf} }

// Buffered returns how many bytes were read from the stream but not yet
// delivered in a message.
func (r *Reader) Buffered() int { return r.to - r.from }

// Read reads one message into m, which is overwritten whole.
//
// The error is io.EOF if the stream ends before the message begins, and
// io.ErrUnexpectedEOF if it ends inside; an *Error if the message is malformed;
// else the stream's own. After an *Error that is not Fatal, m holds all else that
// the message said and Read can be called again. After an error of the stream
// that passes, such as a deadline, it can be called again too, and nothing is
// lost.
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
				r.buf, r.from, r.to = nil, 0, 0 // few messages are so long
			}
			return err
		}
		r.scan = ^n
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// fill reads once more from the stream.
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
		if tries == 100 { // as bufio does
			r.err = io.ErrNoProgress
		}
	}
	err := r.err
	if err != io.EOF {
		r.err = nil // it may pass
	} else if r.Buffered() > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom makes space behind to. A message that is not whole is shorter than
// maxBuffer, because frame refuses longer ones as soon as it sees it.
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
