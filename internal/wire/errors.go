package wire

import (
	"errors"
	"fmt"
)

// ErrTooLong means that a message is longer than MaxMessage, or would be.
var ErrTooLong = fmt.Errorf("message longer than %d bytes", MaxMessage)

// Causes of an Error.
var (
	errLength       = errors.New("wrong length")
	errTruncated    = errors.New("value ends early")
	errTrailing     = errors.New("bytes after the EOF TLV")
	errFamily       = errors.New("address family is neither IPv4 nor IPv6")
	errZone         = errors.New("zone is not a decimal scope id")
	errUnterminated = errors.New("string without NUL at its end")
	errNUL          = errors.New("string with NUL inside")
	errDevice       = errors.New("device name too long")
	errMembers      = errors.New("too many sockets")
	errRemotes      = errors.New("too many remote addresses")
	errOrigin       = errors.New("command or source too long")
	errNetwork      = errors.New("text of a network too long, or too many addresses")
	errPrefix       = errors.New("not the address of a network")
	errSelection    = errors.New("too many preferences, or one with too long a name")
)

// Error says what is wrong with a message.
type Error struct {
	Tag Tag // of the TLV that is wrong
	// Fatal tells that it is unknown where the next message starts, so that the
	// connection must be closed. If Fatal is false, the whole message was consumed, and
	// the connection can go on.
	Fatal bool
	Err   error // ErrTooLong among others
}

func (e *Error) Error() string {
	if e.Fatal {
		return fmt.Sprintf("broken frame at %v: %v", e.Tag, e.Err)
	}
	return fmt.Sprintf("bad %v: %v", e.Tag, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
