package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/socket-intents/mamma/policy"
)

// wrong reports a wrong value; the error goes on after the setting's name.
func (h *hclFile) wrong(a *hclsyntax.Attribute, where string, err error) {
	h.errorf(position(a.Expr.Range()), "%s%s %v", a.Name, in(where), err)
}

// into makes the setter of a setting that is written as a string.
func into[T any](h *hclFile, to *T, parse func(string) (T, error)) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok {
			return
		}
		if v.list != nil {
			h.wrong(a, where, errors.New("must be a string, not a list"))
			return
		}
		x, err := parse(v.text)
		if err == nil && v.of != cty.String {
			err = fmt.Errorf("must be in quotes: %q", v.text)
		}
		if err != nil {
			h.wrong(a, where, err)
			return
		}
		*to = x
	}
}

// listInto makes the setter of a setting that is a list of strings, or one
// string.
func listInto[T any](h *hclFile, to *[]T, parse func(string) (T, error)) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok {
			return
		}
		list := v.list
		if list == nil {
			list = []value{v}
		}
		for _, one := range list {
			if one.of != cty.String {
				h.wrong(a, where, errors.New("must be a list of strings"))
				return
			}
			x, err := parse(one.text)
			if err != nil {
				h.wrong(a, where, err)
				return
			}
			*to = append(*to, x)
		}
	}
}

func (h *hclFile) boolean(to *bool) setter {
	return func(a *hclsyntax.Attribute, where string) {
		v, ok := h.value(a, where)
		if !ok {
			return
		}
		if v.list != nil || v.of != cty.Bool {
			h.wrong(a, where, errors.New("must be true or false"))
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
		if v.list != nil || v.of != cty.Number || err != nil || n < low || n > high {
			h.wrong(a, where, fmt.Errorf("must be an integer between %d and %d", low, high))
			return
		}
		*to = n
	}
}

// value is a constant: a string, number or bool as text, or a list of those.
type value struct {
	of   cty.Type
	text string
	list []value // not nil: a list
}

// value gives the constant value of a setting, and reports where it has none.
func (h *hclFile) value(a *hclsyntax.Attribute, where string) (value, bool) {
	if !constant(a.Expr) {
		err := errors.New("must be a constant")
		if text := string(a.Expr.Range().SliceBytes(h.src.text)); hclsyntax.ValidIdentifier(text) {
			err = fmt.Errorf("must be in quotes: %q", text)
		}
		h.wrong(a, where, err)
		return value{}, false
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() {
		for _, d := range diags {
			h.diagnostic(d)
		}
		return value{}, false
	}
	x, err := plain(v)
	if err != nil {
		h.wrong(a, where, err)
		return value{}, false
	}
	return x, true
}

// plain turns HCL's form of a value into ours.
func plain(v cty.Value) (value, error) {
	err := errors.New("must be a string, a number, true or false, or a list of those")
	if v.IsNull() || !v.IsKnown() {
		return value{}, err
	}
	x := value{of: v.Type()}
	switch {
	case x.of == cty.String:
		x.text = v.AsString()
	case x.of == cty.Bool:
		x.text = strconv.FormatBool(v.True())
	case x.of == cty.Number:
		x.text, err = numberText(v.AsBigFloat())
		return x, err
	case x.of.IsTupleType():
		x.list = []value{}
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			one, oneErr := plain(element)
			if oneErr != nil || one.list != nil {
				return value{}, err
			}
			x.list = append(x.list, one)
		}
	default:
		return value{}, err
	}
	return x, nil
}

// numberText writes a number: an integer with all its digits, anything else as
// the nearest float64. Numbers beyond that are refused, as their digits could
// fill the memory.
func numberText(n *big.Float) (string, error) {
	if i, accuracy := n.Int64(); accuracy == big.Exact {
		return strconv.FormatInt(i, 10), nil
	}
	f, _ := n.Float64()
	if math.IsInf(f, 0) {
		return "", errors.New("is no finite number")
	}
	return strconv.FormatFloat(f, 'g', -1, 64), nil
}

// constant tells whether an expression is made of literals only. Loops and
// function calls do not count, which also bounds the time that evaluation takes.
func constant(e hclsyntax.Expression) bool {
	all := true
	// The visitor never fails.
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

// policySettings reads a body whose settings are the policy's own, where being
// the block they belong to.
func (h *hclFile) policySettings(body *hclsyntax.Body, where string) []policy.Setting {
	for _, b := range body.Blocks {
		h.errorf(position(b.TypeRange), "%s cannot hold a block; its settings are written %s = ...", where, b.Type)
	}
	var settings []policy.Setting
	for _, a := range sorted(body.Attributes) {
		r := a.Expr.Range()
		s := policy.Setting{
			Name: a.Name, Constant: constant(a.Expr), Block: where,
			Expr: string(r.SliceBytes(h.src.text)),
			File: h.src.name, Line: a.NameRange.Start.Line, Column: a.NameRange.Start.Column,
			ExprLine: r.Start.Line, ExprColumn: r.Start.Column,
		}
		if s.Constant {
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
