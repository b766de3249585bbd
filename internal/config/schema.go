package config

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// A Body describes what a block of a file may contain. Other programs than the daemon
// describe their files with it, and so get the daemon's strictness and error messages.
// Call its methods in a function that describes a body, before the body is read.
type Body struct {
	h        *hclFile
	where    string
	settings map[string]setter
	blocks   map[string]blockReader
	given    map[string]bool
	places   map[string]Pos
	after    []func()
	hint     func(name, value string) string
}

// LoadFile reads the HCL file at path, whose body describe describes. Errors in its
// content are an *Error.
func LoadFile(ctx context.Context, path string, describe func(*Body)) error {
	src, err := ReadFile(ctx, path, MaxSize+1)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return ParseFile(src, path, describe)
}

// ParseFile is LoadFile for a text. filename appears in errors.
func ParseFile(src []byte, filename string, describe func(*Body)) error {
	h := &hclFile{report: &report{src: source{name: filename, text: src}}}
	if len(src) > MaxSize {
		h.errorf(Pos{}, "larger than %d bytes", MaxSize)
	} else if body, ok := h.parse(); ok {
		h.describedBody(body, "", describe)
		h.unread()
	}
	return h.err()
}

func (h *hclFile) describedBody(body *hclsyntax.Body, where string, describe func(*Body)) {
	b := &Body{h: h, where: where, settings: map[string]setter{}, blocks: map[string]blockReader{}, given: map[string]bool{}, places: places(body)}
	describe(b)
	names := slices.Collect(maps.Keys(body.Attributes))
	for _, x := range body.Blocks { // somebody may write a setting as a block by mistake
		names = append(names, x.Type)
	}
	known := slices.Sorted(maps.Keys(b.settings))
	for _, name := range names {
		b.given[name] = true
		if b.settings[name] == nil {
			b.given[nearest(name, known)] = true // the error about the misspelt name suffices
		}
	}
	before := h.hint
	h.hint = b.hint
	h.body(body, where, b.settings, b.blocks)
	h.hint = before
	for _, f := range b.after {
		f()
	}
}

// Errorf reports that something at pos is wrong.
func (b *Body) Errorf(pos Pos, format string, args ...any) { b.h.errorf(pos, format, args...) }

// Given tells, after the body was read, whether it has the setting. A wrong value
// counts, too, and so does a misspelt name, or a block of that name.
func (b *Body) Given(name string) bool { return b.given[name] }

// Place returns where the value of a setting stands, for Errorf. It is the zero value if
// the body does not have the setting.
func (b *Body) Place(name string) Pos { return b.places[name] }

// After sets a function that is called once the body was read. It can check several
// settings together.
func (b *Body) After(f func()) { b.after = append(b.after, f) }

// Elsewhere sets a function that is asked about a setting which the body does not know,
// with its value as text. It returns a remark for the error message, or "".
func (b *Body) Elsewhere(f func(name, value string) string) { b.hint = f }

// Bool describes a setting that is true or false.
func (b *Body) Bool(name string, to *bool) { b.settings[name] = b.h.boolean(to) }

// Int describes a setting that is an integer between low and high.
func (b *Body) Int(name string, to *int, low, high int) {
	b.settings[name] = b.h.integer(to, low, high)
}

// Text describes a setting that is written as a string. Errors of parse continue after
// the setting's name: "must be ...".
func Text[T any](b *Body, name string, to *T, parse func(string) (T, error)) {
	b.settings[name] = into(b.h, to, parse)
}

// Duration describes a setting that is a duration above 0: text as intent.ParseDuration
// reads it, or a number of seconds.
func (b *Body) Duration(name string, to *time.Duration) {
	b.settings[name] = quantity(b.h, to, positive)
}

// Texts describes a setting that is a list of strings or one string. The list replaces
// the content of to.
func Texts[T any](b *Body, name string, to *[]T, parse func(string) (T, error)) {
	texts(b, name, to, parse, false)
}

// Numbers is Texts for values that are mostly numbers, such as ports. Elements may be
// written as numbers, too.
func Numbers[T any](b *Body, name string, to *[]T, parse func(string) (T, error)) {
	texts(b, name, to, parse, true)
}

func texts[T any](b *Body, name string, to *[]T, parse func(string) (T, error), numbers bool) {
	b.settings[name] = func(a *hclsyntax.Attribute, where string) {
		*to = nil
		listInto(b.h, to, parse, numbers)(a, where)
	}
}

// Group describes a block without a name.
func (b *Body) Group(name string, describe func(*Body)) {
	b.blocks[name] = blockReader{read: func(x *hclsyntax.Block) { b.h.describedBody(x.Body, name, describe) }}
}

// Named describes blocks of one kind, each with its own name. label says what the name
// means.
func (b *Body) Named(kind, label string, describe func(name string, at Pos, body *Body)) {
	b.blocks[kind] = blockReader{label: label, many: true, read: func(x *hclsyntax.Block) {
		b.h.describedBody(x.Body, fmt.Sprintf("%s %q", kind, x.Labels[0]), func(body *Body) {
			describe(x.Labels[0], position(x.LabelRanges[0]), body)
		})
	}}
}

// OneOf makes a function that reads one of a few names.
func OneOf(names ...string) func(string) (string, error) {
	choices := make([]choice[string], len(names))
	for i, n := range names {
		choices[i] = choice[string]{n, n}
	}
	return oneOf(choices)
}
