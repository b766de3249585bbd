package wire

import (
	"bytes"
	"io"

	"github.com/google/uuid"
)

// Decode decodes b, which must be exactly one whole message, into m.
//
// The error is an *Error. If the error is not fatal, m holds everything else in the
// message, for an error answer to echo. Decode overwrites all of m. Afterwards m shares
// no memory with b.
func Decode(b []byte, m *Message) error {
	n, err := frame(b, 0)
	switch {
	case err != nil:
		return err
	case n < 0:
		return &Error{Fatal: true, Err: io.ErrUnexpectedEOF}
	case n < len(b):
		return &Error{Fatal: true, Err: errTrailing}
	}
	return decode(b, m)
}

// frame returns the length of the message at the start of b, up to and with its EOF
// TLV. TLVs before offset at were passed in earlier calls; at is where the next one
// begins. If b ends before the message does, frame returns ^next, which is negative:
// next is the value of at for the call with more bytes. An error is fatal.
func frame(b []byte, at int) (int, error) {
	for len(b)-at >= headerSize {
		tag := Tag(le.Uint32(b[at:]))
		length := le.Uint64(b[at+4:])
		if tag == TagEOF {
			if length != 0 {
				return 0, &Error{Tag: tag, Fatal: true, Err: errLength}
			}
			return at + headerSize, nil
		}
		// After the value there must be room for the EOF TLV.
		if room := MaxMessage - 2*headerSize - at; room < 0 || length > uint64(room) {
			return 0, &Error{Tag: tag, Fatal: true, Err: ErrTooLong}
		}
		end := at + headerSize + int(length)
		if end > len(b) {
			break
		}
		at = end
	}
	return ^at, nil
}

// decode decodes the well-framed message b.
func decode(b []byte, m *Message) error {
	d := decoder{m: m, target: &m.Context, reason: m.Reason}
	m.reset()
	d.keep(&m.Context)
	for {
		tag := Tag(le.Uint32(b))
		if tag == TagEOF {
			break
		}
		end := headerSize + int(le.Uint64(b[4:]))
		if err := d.tlv(tag, b[headerSize:end]); err != nil && d.err == nil {
			d.err = &Error{Tag: tag, Err: err}
		}
		b = b[end:]
	}
	if d.err != nil {
		return d.err
	}
	return nil
}

// reset sets m to the zero value. It keeps the memory of m's slices, unless that is a
// lot.
func (m *Message) reset() {
	if m.kept() > maxKept {
		*m = Message{}
		return
	}
	*m = Message{
		Context:     m.Context,
		Sockets:     m.Sockets[:0],
		WideIntents: m.WideIntents[:0],
		Alternates:  m.Alternates[:0],
		Paths:       m.Paths[:0],
		Selection:   m.Selection[:0],
		Costs:       m.Costs[:0],
		Leased:      m.Leased[:0],
		Networks:    m.Networks[:0],
	}
}

// reset sets c to the zero value, but keeps the memory of its slices.
func (c *Context) reset() {
	*c = Context{
		Hint:             c.Hint[:0],
		Result:           c.Result[:0],
		OptionsCurrent:   c.OptionsCurrent[:0],
		OptionsSuggested: c.OptionsSuggested[:0],
	}
}

// decoder is the state while one message is decoded.
type decoder struct {
	m      *Message
	target *Context // the Context that the next context TLVs belong to
	err    *Error   // the first one

	// The strings that m and target held before. They are used again if the new ones
	// are equal, which saves allocations.
	host, service, reason string
}

// keep resets c and makes it the target.
func (d *decoder) keep(c *Context) {
	d.target, d.host, d.service = c, c.Hostname, c.Service
	c.reset()
}

func (d *decoder) tlv(tag Tag, v []byte) (err error) {
	m, c := d.m, d.target
	switch tag {
	case TagAction:
		var a int32
		if a, err = decodeInt32(v); err == nil {
			m.Action, m.HasAction = Action(a), true
		}
	case TagSocketFile:
		return d.socket(v)
	case TagContextID:
		if len(v) != len(uuid.UUID{}) {
			return errLength
		}
		c.ID = uuid.UUID(v)
	case TagInode:
		if len(v) != 8 {
			return errLength
		}
		c.Inode = le.Uint64(v)
	case TagFD:
		c.FD, err = decodeInt32(v)
	case TagCalls:
		var n int32
		n, err = decodeInt32(v)
		c.Calls = Calls(n)
	case TagDomain:
		c.Domain, err = decodeInt32(v)
	case TagType:
		c.Type, err = decodeInt32(v)
	case TagProtocol:
		c.Protocol, err = decodeInt32(v)
	case TagBindRequested:
		c.BindRequested, err = decodeSockAddr(v)
	case TagBindSuggested:
		c.BindSuggested, err = decodeSockAddr(v)
	case TagRemote:
		c.Remote, err = decodeSockAddr(v)
	case TagHostname:
		c.Hostname, err = decodeString(v, d.host)
		c.EmptyHostname = c.Hostname == "" && err == nil
	case TagService:
		c.Service, err = decodeString(v, d.service)
		c.EmptyService = c.Service == "" && err == nil
	case TagHint:
		c.Hint, err = decodeAddrInfos(v, c.Hint)
	case TagResult:
		c.Result, err = decodeAddrInfos(v, c.Result)
	case TagOptionsCurrent:
		c.OptionsCurrent, err = decodeSockOpts(v, c.OptionsCurrent)
	case TagOptionsSuggested:
		c.OptionsSuggested, err = decodeSockOpts(v, c.OptionsSuggested)
	default:
		return d.extension(tag, v)
	}
	return err
}

// socket handles a socket TLV. In a socketchoose request it begins a member, whose
// context follows. In an answer it names a socket.
func (d *decoder) socket(v []byte) error {
	fd, err := decodeInt32(v)
	if err != nil {
		return err
	}
	m := d.m
	if len(m.Sockets) == maxMembers {
		return errMembers
	}
	m.Sockets = grow(m.Sockets)
	s := &m.Sockets[len(m.Sockets)-1]
	s.FD = fd
	if m.HasAction && m.Action == ActionSocketChooseExisting {
		s.Context.reset()
		return nil
	}
	d.keep(&s.Context)
	return nil
}

// grow makes s one element longer. The new element keeps its former content, if any, so
// that its memory can be reused.
func grow[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero T
	return append(s, zero)
}

func decodeInt32(v []byte) (int32, error) {
	if len(v) != 4 {
		return 0, errLength
	}
	return int32(le.Uint32(v)), nil
}

// decodeString returns old if v holds the same string, which saves an allocation.
func decodeString(v []byte, old string) (string, error) {
	n := len(v) - 1
	if n < 0 || v[n] != 0 {
		return "", errUnterminated
	}
	if v = v[:n]; bytes.IndexByte(v, 0) >= 0 {
		return "", errNUL
	}
	if string(v) == old {
		return old, nil
	}
	return string(v), nil
}
