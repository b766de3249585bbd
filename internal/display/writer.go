package display

import (
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Writer passes text on to a terminal or a log. Line ends, tabs and the given escape
// sequences pass. A question mark takes the place of everything else that is not
// printable, so that text from outside cannot control the terminal. A program whose
// whole output goes through a Writer need not clean each part. A Writer is safe for
// concurrent use.
type Writer struct {
	to      io.Writer
	allowed []string

	mu   sync.Mutex
	held []byte // the beginning of a character or sequence whose rest was not written yet
}

// NewWriter returns a Writer that passes text on to w, and lets the sequences in
// allowed pass.
func NewWriter(w io.Writer, allowed ...string) *Writer {
	return &Writer{to: w, allowed: slices.Clone(allowed)}
}

// Unwrap returns the writer that the Writer passes text on to.
func (w *Writer) Unwrap() io.Writer { return w.to }

// Write implements io.Writer. If b ends within a character or a sequence, that part
// waits for its rest.
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := append(w.held, b...)
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		n, ok := w.next(text)
		if n == 0 {
			break // the rest has not been written yet
		}
		if ok {
			out = append(out, text[:n]...)
		} else {
			out = append(out, bad)
		}
		text = text[n:]
	}
	w.held = append([]byte(nil), text...)
	if len(out) == 0 {
		return len(b), nil
	}
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// next returns the length of the character or sequence at the beginning of text, and
// whether that may pass. The length is 0 if more text is needed to tell.
func (w *Writer) next(text []byte) (n int, ok bool) {
	if c := text[0]; c < utf8.RuneSelf {
		if c >= ' ' && c != 0x7f || c == '\n' || c == '\t' {
			return 1, true
		}
		partial := false
		for _, s := range w.allowed {
			if len(text) >= len(s) && string(text[:len(s)]) == s {
				return len(s), true
			}
			partial = partial || strings.HasPrefix(s, string(text[:min(len(text), len(s))]))
		}
		if partial {
			return 0, false
		}
		return 1, false
	}
	if !utf8.FullRune(text) {
		return 0, false
	}
	r, n := utf8.DecodeRune(text)
	return n, (r != utf8.RuneError || n > 1) && unicode.IsPrint(r)
}
