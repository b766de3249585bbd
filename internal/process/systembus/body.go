package systembus

import (
	"encoding/binary"
	"strings"
	"sync"
)

const (
	// maxTypes is the number of different types that are decoded. The services that are
	// followed have some sixty.
	maxTypes = 256
	// maxSignature is the length in bytes of the longest signature of such a type. That of
	// the answer to GetManagedObjects has 13.
	maxSignature = 40
	// maxDepth is how deep values may lie in each other. The specification allows 64.
	maxDepth = 32
)

// Types are the types of the values that were decoded. To decode a value, the library has
// package reflect make its type, and that keeps each type until the process ends. A single
// message could have it make a hundred thousand types. So types are counted, over all
// connections for which the same Types is used. Once there are maxTypes, messages that have
// further ones are not decoded.
//
// The zero value is ready. A Types is safe for concurrent use.
type Types struct {
	mu   sync.Mutex
	seen map[string]struct{} // by signature
}

// admit tells whether values of a type may be decoded. signature must be that of one
// complete type.
func (t *Types) admit(signature []byte) bool {
	if len(signature) == 1 {
		return true // there is a type for each of these anyway
	}
	if len(signature) > maxSignature {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[string(signature)]; ok {
		return true
	}
	if len(t.seen) >= maxTypes {
		return false
	}
	if t.seen == nil {
		t.seen = map[string]struct{}{}
	}
	t.seen[string(signature)] = struct{}{}
	return true
}

// fit tells whether the body of a message holds exactly the values of its signature, and
// whether their types may be decoded. The library takes some bodies that are none, and
// ends the connection at others. Not every bus looks at the bodies that it passes on.
func (t *Types) fit(order binary.ByteOrder, signature string, body []byte) bool {
	w := walker{order: order, buf: body, types: t}
	for s := []byte(signature); len(s) > 0; {
		n := complete(s, 0)
		if n == 0 || !t.admit(s[:n]) || !w.value(s[:n], 0) {
			return false
		}
		s = s[n:]
	}
	return w.at == len(body)
}

// The basic types, and those that can be keys of dictionaries (D-Bus specification, "Type
// System"). The library has no keys that are signatures.
const (
	keys   = "ybnqiuxtdsoh"
	basics = keys + "g"
)

// complete returns the length of the first complete type in a signature, 0 if it does not
// begin with one. A structure has at least one member.
func complete(s []byte, depth int) int {
	if len(s) == 0 || depth > maxDepth {
		return 0
	}
	switch {
	case s[0] == 'v' || strings.IndexByte(basics, s[0]) >= 0:
		return 1
	case s[0] == 'a' && len(s) > 3 && s[1] == '{':
		n := complete(s[3:], depth+1)
		if n == 0 || strings.IndexByte(keys, s[2]) < 0 || len(s) <= 3+n || s[3+n] != '}' {
			return 0
		}
		return 4 + n
	case s[0] == 'a':
		if n := complete(s[1:], depth+1); n > 0 {
			return 1 + n
		}
	case s[0] == '(':
		at := 1
		for at < len(s) && s[at] != ')' {
			n := complete(s[at:], depth+1)
			if n == 0 {
				return 0
			}
			at += n
		}
		if at > 1 && at < len(s) {
			return at + 1
		}
	}
	return 0
}

// walker walks through the values in a body (D-Bus specification, "Marshaling").
type walker struct {
	order binary.ByteOrder
	buf   []byte
	at    int
	types *Types
}

// sizes are the sizes in bytes of values that have a fixed one, which is also their
// alignment.
var sizes = [128]int{'y': 1, 'n': 2, 'q': 2, 'b': 4, 'i': 4, 'u': 4, 'h': 4, 'x': 8, 't': 8, 'd': 8}

// value passes over a value of the complete type s. It returns false if there is none.
func (w *walker) value(s []byte, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch s[0] {
	case 'b':
		n, ok := w.number()
		return ok && n <= 1
	case 's', 'o':
		n, ok := w.number()
		return ok && w.text(int64(n))
	case 'g':
		text, ok := w.signature()
		for ok && len(text) > 0 {
			n := complete(text, 0)
			text, ok = text[n:], n > 0
		}
		return ok
	case 'v':
		text, ok := w.signature()
		return ok && len(text) > 0 && complete(text, 0) == len(text) && w.types.admit(text) && w.value(text, depth+1)
	case 'a':
		return w.array(s[1:], depth+1)
	case '(', '{': // a key and its value are aligned like a structure
		ok := w.align(8)
		for s = s[1 : len(s)-1]; ok && len(s) > 0; {
			n := complete(s, 0)
			ok = w.value(s[:n], depth+1)
			s = s[n:]
		}
		return ok
	default:
		return w.align(sizes[s[0]]) && w.skip(int64(sizes[s[0]]))
	}
}

// array passes over an array of elements of the type s.
func (w *walker) array(s []byte, depth int) bool {
	length, ok := w.number()
	size := sizes[s[0]]
	switch {
	case !ok:
		return false
	case s[0] == '(', s[0] == '{':
		ok = w.align(8)
	case strings.IndexByte("soa", s[0]) >= 0:
		ok = w.align(4)
	case size > 0:
		ok = w.align(size)
	}
	if !ok || int64(length) > int64(len(w.buf)-w.at) {
		return false
	}
	if size > 0 && s[0] != 'b' {
		return int(length)%size == 0 && w.skip(int64(length))
	}
	end := w.at + int(length)
	for w.at < end { // each value takes at least a byte
		if !w.value(s, depth) {
			return false
		}
	}
	return w.at == end
}

// number reads a number of 32 bits.
func (w *walker) number() (uint32, bool) {
	if !w.align(4) || len(w.buf)-w.at < 4 {
		return 0, false
	}
	w.at += 4
	return w.order.Uint32(w.buf[w.at-4:]), true
}

// signature reads a signature.
func (w *walker) signature() ([]byte, bool) {
	if w.at >= len(w.buf) {
		return nil, false
	}
	n := int(w.buf[w.at])
	w.at++
	if !w.text(int64(n)) {
		return nil, false
	}
	return w.buf[w.at-1-n : w.at-1], true
}

// text passes over n bytes and the NUL behind them.
func (w *walker) text(n int64) bool { return w.skip(n+1) && w.buf[w.at-1] == 0 }

// align passes over the bytes before the next multiple of n.
func (w *walker) align(n int) bool { return w.skip(int64((w.at+n-1)/n*n - w.at)) }

// skip passes over n bytes. It returns false if there are fewer.
func (w *walker) skip(n int64) bool {
	if n > int64(len(w.buf)-w.at) {
		return false
	}
	w.at += int(n)
	return true
}
