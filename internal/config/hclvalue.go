package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/socket-intents/mamma/policy"
)

// wrong reports a wrong value. The text of err continues after the setting's name.
func (h *hclFile) wrong(a *hclsyntax.Attribute, where string, err error) {
	h.errorf(position(a.Expr.Range()), "%s%s %v", a.Name, in(where), err)
}

// unquotedError says that a text lacks its quotes.
func unquotedError(text string) error { return fmt.Errorf("is text: put it in quotes: %q", text) }

// readText reads a value that is written as a string or, with numbers, as a number.
func readText[T any](v value, parse func(string) (T, error), numbers bool) (T, error) {
	x, err := parse(v.text)
	switch {
	case v.bare && err == nil:
		err = unquotedError(v.text)
	case v.bare:
		err = fmt.Errorf("%w; and put it in quotes", err)
	case err == nil && v.of != cty.String && (v.of != cty.Number || !numbers):
		err = unquotedError(v.text)
	case err != nil && v.written != "":
		// Without quotes, 8000-8999 is a number below zero.
		if _, wrong := parse(v.written); wrong == nil {
			err = unquotedError(v.written)
		}
	}
	return x, err
}

// into makes the setter of a setting that is a string.
func into[T any](h *hclFile, to *T, parse func(string) (T, error)) setter {
	return single(h, to, parse, false)
}

// quantity makes the setter of an amount or a duration. It is a string, or a number of
// bytes or seconds.
func quantity[T any](h *hclFile, to *T, parse func(string) (T, error)) setter {
	return single(h, to, parse, true)
}

// numbered makes the setter of a name that may be a number.
func (h *hclFile) numbered(to *string, parse func(string) (string, error)) setter {
	return single(h, to, parse, true)
}

func single[T any](h *hclFile, to *T, parse func(string) (T, error), numbers bool) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok {
			return
		}
		if v.list != nil {
			h.wrong(a, where, errors.New("must be a string, not a list"))
			return
		}
		x, err := readText(v, parse, numbers)
		if err != nil {
			h.wrong(a, where, err)
			return
		}
		*to = x
	}
}

// listInto makes the setter of a setting that is a list of strings or one string. With
// numbers, elements may be numbers, too.
func listInto[T any](h *hclFile, to *[]T, parse func(string) (T, error), numbers bool) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok && v.list == nil {
			return
		}
		list := v.list
		if list == nil {
			list = []value{v}
		}
		for _, one := range list {
			x, err := readText(one, parse, numbers)
			if several, ok := listOf(one.text); err != nil && ok && v.list == nil {
				err = fmt.Errorf("has several values: put them in brackets: %s = %s", a.Name, several)
			}
			if err != nil {
				h.errorf(one.pos, "%s%s %v", a.Name, in(where), err)
				continue
			}
			*to = append(*to, x)
		}
	}
}

// path makes the setter of a path, and paths that of one or several.
func (h *hclFile) path(to *string, parse func(string) (string, error)) setter {
	return func(a *hclsyntax.Attribute, where string) {
		into(h, to, parse)(a, where)
		h.warnRelative(position(a.Expr.Range()), a.Name+in(where), *to)
	}
}

func (h *hclFile) paths(to *[]string) setter {
	return func(a *hclsyntax.Attribute, where string) {
		listInto(h, to, parsePath, false)(a, where)
		for _, path := range *to {
			h.warnRelative(position(a.Expr.Range()), a.Name+in(where), path)
		}
	}
}

// warnRelative warns of a path that means another file if the daemon is started
// elsewhere. In the original grammar such paths are usual.
func (h *hclFile) warnRelative(at Pos, what, path string) {
	if warning := RelativePath(what, path); warning != "" {
		h.warnf(at, "%s", warning)
	}
}

// RelativePath returns a warning about what, which is given as a path in a
// configuration file. It is "" if the path is absolute, or if there is none.
func RelativePath(what, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return ""
	}
	return fmt.Sprintf("%s is a relative path: %q is looked for where the program is started, and as a service that is /; write it from / on", what, path)
}

// listOf returns the list that a text with commas was meant to be. ok tells whether the
// text has commas.
func listOf(text string) (list string, ok bool) {
	var quoted []string
	for one := range strings.SplitSeq(text, ",") {
		quoted = append(quoted, strconv.Quote(strings.TrimSpace(one)))
	}
	return "[" + strings.Join(quoted, ", ") + "]", len(quoted) > 1
}

func (h *hclFile) boolean(to *bool) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok {
			return
		}
		if v.list != nil || v.of != cty.Bool {
			err := errors.New("must be true or false")
			truth := truths[strings.ToLower(v.text)]
			if n := v.text; v.of == cty.Number && (n == "0" || n == "1") {
				truth = strconv.FormatBool(n == "1")
			}
			if truth != "" {
				err = fmt.Errorf("%w: %s = %s", err, a.Name, truth)
			}
			h.wrong(a, where, err)
			return
		}
		*to = v.text == "true"
	}
}

func (h *hclFile) integer(to *int, low, high int) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok {
			return
		}
		n, err := strconv.Atoi(v.text)
		if v.list != nil || v.bare || v.of == cty.Bool || err != nil || n < low || n > high {
			h.wrong(a, where, fmt.Errorf("must be an integer between %d and %d, not %s", low, high, h.source(a.Expr.Range())))
			return
		}
		*to = n
	}
}

// value is a constant: a string, number or bool as text, or a list of these.
type value struct {
	of   cty.Type
	text string
	list []value // nil: no list
	pos  Pos
	// bare tells that the value is text without the quotes that it needs. Then of has
	// no meaning.
	bare bool
	// written is the text in the file if the value is a number that was computed; else
	// "".
	written string
}

// value returns the constant value of a setting, and reports an error if there is none.
// If a list has a wrong element, it returns the other elements.
func (h *hclFile) value(a *hclsyntax.Attribute, where string) (value, bool) {
	expr := a.Expr
	for {
		in, ok := expr.(*hclsyntax.ParenthesesExpr)
		if !ok {
			break
		}
		expr = in.Expression
	}
	if list, ok := expr.(*hclsyntax.TupleConsExpr); ok {
		v := value{list: []value{}, pos: position(a.Expr.Range())}
		good := true
		for _, e := range list.Exprs {
			one, err := h.scalar(e)
			if err != nil {
				h.errorf(position(e.Range()), "%s%s %v", a.Name, in(where), err)
				good = false
				continue
			}
			v.list = append(v.list, one)
		}
		return v, good
	}
	v, err := h.scalar(a.Expr)
	if err != nil {
		h.wrong(a, where, err)
	}
	return v, err == nil
}

// scalar returns the value of an expression that is not a list.
func (h *hclFile) scalar(e hclsyntax.Expression) (value, error) {
	pos := position(e.Range())
	if w, ok := h.words[e.Range().Start.Byte]; ok {
		return value{text: w.text, bare: true, pos: w.pos}, nil
	}
	text := h.source(e.Range())
	if !constant(e) {
		if lacksQuotes(text) {
			return value{text: text, bare: true, pos: pos}, nil
		}
		if strings.Contains(text, "${") {
			return value{}, errors.New("must be a constant: there are no variables, and nothing takes the place of ${...}")
		}
		return value{}, errors.New("must be a constant")
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() {
		return value{}, fmt.Errorf("cannot be computed: %s", hclMessage(diags[0]))
	}
	x, err := plain(v)
	x.pos = pos
	if x.of == cty.Number && lacksQuotes(text) && text != x.text {
		x.written = text
	}
	return x, err
}

// quotesToo adds to the error about an unknown setting that its value lacks quotes,
// too.
func (h *hclFile) quotesToo(a *hclsyntax.Attribute) string {
	v, err := h.scalar(a.Expr)
	if h.hint != nil {
		text := v.text
		if err != nil || text == "" {
			text = h.source(a.Expr.Range())
		}
		if hint := h.hint(a.Name, text); hint != "" {
			return "; " + hint
		}
	}
	if err != nil || !v.bare {
		return ""
	}
	return fmt.Sprintf("; and put its value in quotes: %q", v.text)
}

// plain converts HCL's form of a value that is not a list.
func plain(v cty.Value) (value, error) {
	err := errors.New("must be a string, a number, true or false, or a list of those")
	if v.IsNull() || !v.IsKnown() {
		return value{}, err
	}
	x := value{of: v.Type()}
	switch x.of {
	case cty.String:
		x.text = v.AsString()
	case cty.Bool:
		x.text = strconv.FormatBool(v.True())
	case cty.Number:
		x.text, err = numberText(v.AsBigFloat())
		return x, err
	default:
		return value{}, err
	}
	return x, nil
}

// numberText writes a number: an integer with all its digits, anything else as the
// nearest float64. It refuses numbers beyond that, because their digits could fill the
// memory.
func numberText(n *big.Float) (string, error) {
	if i, accuracy := n.Int64(); accuracy == big.Exact {
		return strconv.FormatInt(i, 10), nil
	}
	f, _ := n.Float64()
	if math.IsInf(f, 0) {
		return "", errors.New("is not a finite number")
	}
	return strconv.FormatFloat(f, 'g', -1, 64), nil
}

// constant tells whether an expression consists of literals only. Loops and function
// calls are excluded, which bounds the time of evaluation.
func constant(e hclsyntax.Expression) bool {
	all := true
	// The result is ignored, because the visitor never fails.
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n.(type) {
		case *hclsyntax.LiteralValueExpr, *hclsyntax.TemplateExpr, *hclsyntax.TemplateWrapExpr, *hclsyntax.ParenthesesExpr,
			*hclsyntax.UnaryOpExpr, *hclsyntax.BinaryOpExpr, *hclsyntax.ConditionalExpr, *hclsyntax.TupleConsExpr:
		default:
			all = false
		}
		return nil
	})
	return all
}

// policySettings reads a body whose settings all belong to the policy. where is the
// block of the body. With single, no setting may be a list.
func (h *hclFile) policySettings(body *hclsyntax.Body, where string, single bool) []policy.Setting {
	for _, b := range body.Blocks {
		h.errorf(position(b.TypeRange), "%s cannot hold a block; its settings are written %s = ...", where, b.Type)
	}
	var settings []policy.Setting
	for _, a := range sorted(body.Attributes) {
		r := a.Expr.Range()
		s := policy.Setting{
			Name: a.Name, Constant: constant(a.Expr), Block: where,
			Expr: h.source(r),
			File: h.src.name, Line: a.NameRange.Start.Line, Column: a.NameRange.Start.Column,
			ExprLine: r.Start.Line, ExprColumn: r.Start.Column,
		}
		switch bare, ok := h.firstWord(r); {
		case ok:
			err := unquotedError(bare.text)
			first, _, several := strings.Cut(bare.text, ",")
			if list, _ := listOf(bare.text); several && single {
				err = fmt.Errorf("takes one value, such as %s = %q", a.Name, strings.TrimSpace(first))
			} else if several {
				err = fmt.Errorf("is text: put it in quotes, and several in brackets: %s = %s", a.Name, list)
			}
			h.wrong(a, where, err)
			continue
		case s.Constant:
			v, ok := h.value(a, where)
			if !ok {
				continue
			}
			s.Value = v.text
			if v.list != nil {
				s.List = []string{}
			}
			for _, one := range v.list {
				s.List = append(s.List, one.text)
			}
		}
		settings = append(settings, s)
	}
	return settings
}
