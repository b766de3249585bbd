package systembus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/godbus/dbus/v5"
)

const (
	// MaxMessage is the size in bytes of the largest message that is read.
	// NetworkManager's description of a host with hundreds of devices takes some ten
	// thousand bytes. The bus itself allows 32 MiB.
	MaxMessage = 1 << 20
	// maxFields limits the header fields, in bytes. They are names and paths of at most
	// 255 bytes each.
	maxFields = 16 << 10
	// fixedHeader is the length in bytes of a header before its fields.
	fixedHeader = 16
)

// ErrFrame means that the bus does not speak its own protocol.
var ErrFrame = errors.New("not a message of D-Bus")

// frames is a connection to a bus that passes on only admitted messages, and of these only
// what the library can decode. Everybody on the bus can send messages with any types to
// everybody else. Package reflect never frees the types that decoding needs (see Types). So
// messages that are not admitted must not be decoded.
type frames struct {
	net.Conn
	in *bufio.Reader
	// admit decides whether a message is passed on.
	admit func(Header) bool
	types *Types
	call  func(Header, []byte) // takes the calls of methods instead; nil: nobody does
	begun bool                 // after the authentication, whose lines are not messages
	left  io.Reader
}

// Header is the part of a message that decides whether the message is read.
type Header struct {
	Kind      dbus.Type
	Sender    string
	Path      string
	Interface string
	Member    string
	Signature string // of the body; "" if there is none
	Serial    uint32
	Answers   uint32 // serial number of the call that this is an answer to
	NoReply   bool   // the sender wants no answer
}

// The names of errors that stand for answers which are not read: TooLarge for one that is
// larger than MaxMessage, and Malformed for one whose values are not those of its signature,
// or have too many types.
const (
	TooLarge  = "org.freedesktop.DBus.Error.LimitsExceeded"
	Malformed = "org.freedesktop.DBus.Error.InconsistentMessage"
)

func newFrames(c net.Conn, o Options) *frames {
	f := &frames{Conn: c, in: bufio.NewReaderSize(c, 32<<10), admit: o.Admit, types: o.Types, call: o.Call}
	if f.types == nil {
		f.types = &Types{}
	}
	return f
}

// Write sends what the library writes, and notes the end of the authentication.
func (f *frames) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("BEGIN")) {
		// This must be set before the write: the answer may come at once.
		f.begun = true
	}
	return f.Conn.Write(p)
}

// Read reads from the admitted messages as if there were no others.
func (f *frames) Read(p []byte) (int, error) {
	if !f.begun {
		return f.in.Read(p)
	}
	for {
		if f.left != nil {
			n, err := f.left.Read(p)
			if n > 0 || !errors.Is(err, io.EOF) {
				return n, err
			}
			f.left = nil
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
}

// next reads up to the next admitted message.
func (f *frames) next() error {
	for {
		var fixed [fixedHeader]byte
		if _, err := io.ReadFull(f.in, fixed[:]); err != nil {
			return err
		}
		order, fields, body, err := lengths(&fixed)
		if err != nil {
			return err
		}
		if fields > maxFields {
			if _, err := io.CopyN(io.Discard, f.in, fields+body); err != nil {
				return err
			}
			continue
		}
		head := make([]byte, fixedHeader+fields)
		copy(head, fixed[:])
		if _, err := io.ReadFull(f.in, head[fixedHeader:]); err != nil {
			return err
		}
		length := fixedHeader + int(order.Uint32(fixed[12:]))
		h, ok := readHeader(order, head[:length])
		if ok && h.Kind == dbus.TypeMethodCall && f.call != nil {
			if err := f.hand(h, head, body); err != nil {
				return err
			}
			continue
		}
		wrong := TooLarge
		admitted := ok && f.admit(h)
		if admitted && fixedHeader+fields+body <= MaxMessage {
			raw := make([]byte, len(head)+int(body))
			copy(raw, head)
			if _, err := io.ReadFull(f.in, raw[len(head):]); err != nil {
				return err
			}
			if f.types.fit(order, h.Signature, raw[len(head):]) {
				f.left = bytes.NewReader(raw)
				return nil
			}
			wrong = Malformed
		} else if _, err := io.CopyN(io.Discard, f.in, body); err != nil {
			return err
		}
		if admitted && h.Answers != 0 {
			if f.left, err = refusal(h, wrong); err != nil {
				return err
			}
			return nil
		}
	}
}

// refusal returns an error in place of an answer that is not read, so that the caller knows
// at once. Otherwise the call would end by its time limit, like one that a busy service
// has not answered yet.
func refusal(h Header, name string) (io.Reader, error) {
	m := &dbus.Message{Type: dbus.TypeError, Flags: dbus.FlagNoReplyExpected, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldErrorName: dbus.MakeVariant(name), dbus.FieldReplySerial: dbus.MakeVariant(h.Answers),
	}}
	if h.Sender != "" {
		m.Headers[dbus.FieldSender] = dbus.MakeVariant(h.Sender)
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:], 1) // the serial number, which must not be 0
	return &b, nil
}

// maxCall limits the size of method calls, which hold a few short texts.
const maxCall = 16 << 10

// hand passes a method call on to f.call, with its bytes if it is short enough to be
// one that is answered.
func (f *frames) hand(h Header, head []byte, body int64) error {
	if int64(len(head))+body > maxCall {
		f.call(h, nil)
		_, err := io.CopyN(io.Discard, f.in, body)
		return err
	}
	raw := make([]byte, len(head)+int(body))
	copy(raw, head)
	if _, err := io.ReadFull(f.in, raw[len(head):]); err != nil {
		return err
	}
	f.call(h, raw)
	return nil
}

// lengths returns the lengths of a message's header fields, with their padding, and of
// its body.
func lengths(fixed *[fixedHeader]byte) (order binary.ByteOrder, fields, body int64, err error) {
	switch fixed[0] {
	case 'l':
		order = binary.LittleEndian
	case 'B':
		order = binary.BigEndian
	default:
		return nil, 0, 0, ErrFrame
	}
	fields = (int64(order.Uint32(fixed[12:])) + 7) &^ 7
	return order, fields, int64(order.Uint32(fixed[4:])), nil
}

// readHeader reads the header fields of a message. buf holds the message up to the end
// of these fields. They are an array of structures of a byte and a variant (D-Bus
// specification, "Message Format"); the specification fixes the types of the variants.
func readHeader(order binary.ByteOrder, buf []byte) (Header, bool) {
	h := Header{Kind: dbus.Type(buf[1]), NoReply: dbus.Flags(buf[2])&dbus.FlagNoReplyExpected != 0, Serial: order.Uint32(buf[8:])}
	for at := fixedHeader; at < len(buf); {
		at = (at + 7) &^ 7
		// Code, length of the signature, signature, and its final NUL.
		if at+4 > len(buf) || buf[at+1] != 1 || buf[at+3] != 0 {
			return Header{}, false
		}
		code, signature := dbus.HeaderField(buf[at]), buf[at+2]
		at += 4
		var text []byte
		var number uint32
		switch signature {
		case 's', 'o':
			at = (at + 3) &^ 3
			if at+4 > len(buf) {
				return Header{}, false
			}
			length := int64(order.Uint32(buf[at:]))
			at += 4
			if int64(at)+length+1 > int64(len(buf)) {
				return Header{}, false
			}
			text = buf[at : at+int(length)]
			at += int(length) + 1
		case 'g':
			if at >= len(buf) || at+int(buf[at])+2 > len(buf) {
				return Header{}, false
			}
			text = buf[at+1 : at+1+int(buf[at])]
			at += int(buf[at]) + 2
		case 'u':
			at = (at + 3) &^ 3
			if at+4 > len(buf) {
				return Header{}, false
			}
			number = order.Uint32(buf[at:])
			at += 4
		default:
			return Header{}, false
		}
		switch code {
		case dbus.FieldSender:
			h.Sender = string(text)
		case dbus.FieldPath:
			h.Path = string(text)
		case dbus.FieldInterface:
			h.Interface = string(text)
		case dbus.FieldMember:
			h.Member = string(text)
		case dbus.FieldSignature:
			h.Signature = string(text)
		case dbus.FieldReplySerial:
			h.Answers = number
		default:
		}
		if at > len(buf) {
			return Header{}, false
		}
	}
	return h, true
}
