package score

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// env is the environment of an expression: the values that its names stand for.
type env struct {
	r        *policy.Request
	own, low subject // the candidate, and the prefix with the lowest round-trip time
	// unknown is set as soon as the evaluation meets an unknown value. The candidate
	// then has no score.
	unknown bool
}

// subject is a prefix that an expression asks about. Its field prefix is nil if no
// prefix has that role.
type subject struct {
	p    *policy.Prefix
	idle int // number of sockets offered on it
}

// kind is the type of an expression.
type kind uint8

const (
	number kind = iota
	boolean
	text
)

func (k kind) String() string { return [...]string{"a number", "true or false", "a text"}[k] }

// node is a compiled expression. Only the function for its kind is set.
type node struct {
	kind    kind
	number  func(*env) float64
	boolean func(*env) bool
	text    func(*env) string
	literal string // the text, if the expression is a literal text
	unit    policy.Unit
	scalar  bool // a number written in the file; multiplying by it keeps the unit
}

// maxDepth bounds the depth of nested expressions.
const maxDepth = 200

// compiler compiles an expression, and collects what the expression reads of a candidate.
type compiler struct {
	inputs []input
	depth  int
	lease  inputs
}

// inputs are what an expression reads of a request. They determine for how long a
// decision may hold.
type inputs struct {
	intents []intent.Option
	host    bool
	sockets bool // the number of idle sockets, and not only which prefixes have some
	// connections tells that the expression counts connections of the user or program.
	// Each decision then changes the next.
	connections bool
}

// input is a figure of a candidate that an expression reads.
type input struct {
	name  string // as written in the expression
	unit  policy.Unit
	value func(*policy.Request, *policy.Prefix) (value float64, known bool)
	time  func(*policy.Prefix) time.Time
}

// compile compiles the value of a setting, which must be of the given kind. Errors name
// the place in the expression.
func compile(s policy.Setting, want kind) (node, *compiler, error) {
	expr, diags := hclsyntax.ParseExpression([]byte(s.Expr), s.File, hcl.Pos{Line: s.ExprLine, Column: s.ExprColumn})
	if diags.HasErrors() {
		d := diags[0]
		at := positioned{message: d.Detail}
		if at.message == "" {
			at.message = d.Summary
		}
		if d.Subject != nil {
			at.pos = d.Subject.Start
		}
		return node{}, nil, at.in(s)
	}
	c := &compiler{}
	n, err := c.expr(expr)
	if err == nil && n.kind != want {
		hint := ""
		if n.literal != "" {
			hint = ": write the expression without quotes"
		}
		err = wrong(expr, "must be %s, not %s%s", want, n.kind, hint)
	}
	if err != nil {
		return node{}, nil, err.in(s)
	}
	return n, c, nil
}

// positioned is an error at a place in an expression.
type positioned struct {
	pos     hcl.Pos
	message string
}

func wrong(e hclsyntax.Node, format string, args ...any) *positioned {
	return &positioned{e.Range().Start, fmt.Sprintf(format, args...)}
}

// in turns err into the error of a setting, at the place of the mistake in the file.
func (e *positioned) in(s policy.Setting) error {
	if e.pos.Line > 0 {
		s.Line, s.Column = e.pos.Line, e.pos.Column
	}
	return s.Errorf("%s in %s: %s", s.Name, s.Block, e.message)
}

func (c *compiler) expr(e hclsyntax.Expression) (node, *positioned) {
	if c.depth++; c.depth > maxDepth {
		return node{}, wrong(e, "the expression is nested too deep")
	}
	defer func() { c.depth-- }()
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return c.expr(e.Expression)
	case *hclsyntax.LiteralValueExpr:
		return literal(e, e.Val)
	case *hclsyntax.TemplateExpr:
		if v, diags := e.Value(nil); e.IsStringLiteral() && !diags.HasErrors() {
			return literal(e, v)
		}
		return node{}, wrong(e, "a text must be constant")
	case *hclsyntax.ScopeTraversalExpr:
		return c.name(e)
	case *hclsyntax.UnaryOpExpr:
		return c.unary(e)
	case *hclsyntax.BinaryOpExpr:
		return c.binary(e)
	case *hclsyntax.ConditionalExpr:
		return c.conditional(e)
	case *hclsyntax.FunctionCallExpr:
		return c.call(e)
	}
	return node{}, wrong(e, "this kind of expression cannot make a score")
}

func literal(e hclsyntax.Expression, v cty.Value) (node, *positioned) {
	switch {
	case v.IsNull():
	case v.Type() == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return node{kind: number, scalar: true, number: func(*env) float64 { return f }}, nil
	case v.Type() == cty.Bool:
		b := v.True()
		return node{kind: boolean, boolean: func(*env) bool { return b }}, nil
	case v.Type() == cty.String:
		s := v.AsString()
		return node{kind: text, literal: s, text: func(*env) string { return s }}, nil
	}
	return node{}, wrong(e, "must be a number, true or false, or a text")
}

// typed compiles e, which must be of the given kind.
func (c *compiler) typed(e hclsyntax.Expression, want kind) (node, *positioned) {
	n, err := c.expr(e)
	if err == nil && want == number {
		n, err = n.quantity(e, policy.None)
	}
	if err == nil && n.kind != want {
		err = wrong(e, "must be %s here, not %s", want, n.kind)
	}
	return n, err
}

// quantity converts n if it is a literal with a unit, such as "300M" or "20ms". It
// becomes a number in the given unit, which is that of the figure beside it. If that
// figure has no unit, only sizes can be converted, because a size is always a number of
// bytes. A duration could be meant in seconds or in milliseconds. A text without a unit
// remains a text, because numbers are written without quotes.
func (n node) quantity(e hclsyntax.Expression, unit policy.Unit) (node, *positioned) {
	if n.literal == "" {
		return n, nil
	}
	if _, err := strconv.ParseFloat(n.literal, 64); err == nil {
		return n, nil
	}
	d, noDuration := intent.ParseDuration(n.literal)
	size, noSize := intent.ParseSize(n.literal)
	rate, noRate := intent.ParseRate(n.literal)
	if noDuration != nil && noSize != nil && noRate != nil {
		return n, nil
	}
	value, what := 0.0, ""
	switch unit {
	case policy.Milliseconds:
		if value, what = float64(d)/float64(time.Millisecond), ""; noDuration != nil {
			what = "milliseconds, or a duration"
		}
	case policy.Bytes:
		if value = float64(size); noSize != nil {
			what = "bytes, or a size"
		}
	case policy.ByteRate:
		if value = rate; noRate != nil {
			what = "bytes per second, or a rate"
		}
	default:
		switch {
		case noSize == nil && noDuration == nil:
			return n, wrong(e, "%q could be a size or a duration: write a size with a capital M, and a duration as a number without quotes, in the unit of what it is compared with", n.literal)
		case noDuration == nil:
			return n, wrong(e, "%q is a duration: write a number without quotes, in the unit of what it is compared with", n.literal)
		case noSize == nil:
			value = float64(size)
		default:
			value = rate
		}
	}
	if what != "" {
		return n, wrong(e, "what it is compared with is in %s: %q is neither", what, n.literal)
	}
	return node{kind: number, unit: unit, number: func(*env) float64 { return value }}, nil
}

func (c *compiler) unary(e *hclsyntax.UnaryOpExpr) (node, *positioned) {
	if e.Op == hclsyntax.OpLogicalNot {
		n, err := c.typed(e.Val, boolean)
		if err != nil {
			return n, err
		}
		return node{kind: boolean, boolean: func(v *env) bool { return !n.boolean(v) }}, nil
	}
	n, err := c.typed(e.Val, number)
	if err != nil {
		return n, err
	}
	return node{kind: number, unit: n.unit, scalar: n.scalar, number: func(v *env) float64 { return -n.number(v) }}, nil
}

func (c *compiler) binary(e *hclsyntax.BinaryOpExpr) (node, *positioned) {
	x, err := c.expr(e.LHS)
	if err != nil {
		return x, err
	}
	y, err := c.expr(e.RHS)
	if err != nil {
		return y, err
	}
	want := number
	switch e.Op {
	case hclsyntax.OpLogicalAnd, hclsyntax.OpLogicalOr:
		want = boolean
	case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
		if y.kind == number {
			if x, err = x.quantity(e.LHS, y.unit); err != nil {
				return x, err
			}
		}
		want = x.kind
	}
	if want == number {
		xUnit, yUnit := x.unit, y.unit
		if x, err = x.quantity(e.LHS, yUnit); err != nil {
			return x, err
		}
		if y, err = y.quantity(e.RHS, xUnit); err != nil {
			return y, err
		}
	}
	for _, side := range []struct {
		n node
		e hclsyntax.Expression
	}{{x, e.LHS}, {y, e.RHS}} {
		if side.n.kind != want {
			return node{}, wrong(side.e, "must be %s here, not %s", want, side.n.kind)
		}
	}
	switch want {
	case boolean:
		return logical(e.Op, x.boolean, y.boolean), nil
	case text:
		equal := e.Op == hclsyntax.OpEqual
		return node{kind: boolean, boolean: func(v *env) bool { return (x.text(v) == y.text(v)) == equal }}, nil
	}
	n := arithmetic(e.Op, x.number, y.number)
	n.unit = unitOf(e.Op, x, y)
	return n, nil
}

// unitOf returns the unit of an operation's result, if it is known.
func unitOf(op *hclsyntax.Operation, x, y node) policy.Unit {
	switch op {
	case hclsyntax.OpAdd, hclsyntax.OpSubtract, hclsyntax.OpModulo:
		if x.unit == y.unit || y.scalar {
			return x.unit
		}
		if x.scalar {
			return y.unit
		}
	case hclsyntax.OpMultiply:
		if y.scalar {
			return x.unit
		}
		if x.scalar {
			return y.unit
		}
	case hclsyntax.OpDivide:
		if y.scalar {
			return x.unit
		}
	}
	return policy.None
}

func logical(op *hclsyntax.Operation, x, y func(*env) bool) node {
	var f func(*env) bool
	switch op {
	case hclsyntax.OpLogicalAnd:
		f = func(v *env) bool { return x(v) && y(v) }
	case hclsyntax.OpLogicalOr:
		f = func(v *env) bool { return x(v) || y(v) }
	case hclsyntax.OpEqual:
		f = func(v *env) bool { return x(v) == y(v) }
	default:
		f = func(v *env) bool { return x(v) != y(v) }
	}
	return node{kind: boolean, boolean: f}
}

func arithmetic(op *hclsyntax.Operation, x, y func(*env) float64) node {
	var f func(*env) float64
	var b func(*env) bool
	switch op {
	case hclsyntax.OpAdd:
		f = func(v *env) float64 { return x(v) + y(v) }
	case hclsyntax.OpSubtract:
		f = func(v *env) float64 { return x(v) - y(v) }
	case hclsyntax.OpMultiply:
		f = func(v *env) float64 { return x(v) * y(v) }
	case hclsyntax.OpDivide:
		f = func(v *env) float64 { return x(v) / y(v) }
	case hclsyntax.OpModulo:
		f = func(v *env) float64 { return math.Mod(x(v), y(v)) }
	case hclsyntax.OpEqual:
		b = func(v *env) bool { return x(v) == y(v) }
	case hclsyntax.OpNotEqual:
		b = func(v *env) bool { return x(v) != y(v) }
	case hclsyntax.OpGreaterThan:
		b = func(v *env) bool { return x(v) > y(v) }
	case hclsyntax.OpGreaterThanOrEqual:
		b = func(v *env) bool { return x(v) >= y(v) }
	case hclsyntax.OpLessThan:
		b = func(v *env) bool { return x(v) < y(v) }
	default:
		b = func(v *env) bool { return x(v) <= y(v) }
	}
	if b != nil {
		return node{kind: boolean, boolean: b}
	}
	return node{kind: number, number: f}
}

// conditional compiles a conditional expression. Only the side that the condition
// chooses is evaluated, so the other side may be unknown.
func (c *compiler) conditional(e *hclsyntax.ConditionalExpr) (node, *positioned) {
	condition, err := c.typed(e.Condition, boolean)
	if err != nil {
		return condition, err
	}
	x, err := c.expr(e.TrueResult)
	if err != nil {
		return x, err
	}
	y, err := c.expr(e.FalseResult)
	if err != nil {
		return y, err
	}
	if x.kind == number || y.kind == number {
		xUnit, yUnit := x.unit, y.unit
		if x, err = x.quantity(e.TrueResult, yUnit); err != nil {
			return x, err
		}
		if y, err = y.quantity(e.FalseResult, xUnit); err != nil {
			return y, err
		}
	}
	if y.kind != x.kind {
		return y, wrong(e.FalseResult, "must be %s here, not %s", x.kind, y.kind)
	}
	test := condition.boolean
	n := node{kind: x.kind}
	if x.unit == y.unit {
		n.unit = x.unit
	}
	switch x.kind {
	case number:
		n.number = func(v *env) float64 {
			if test(v) {
				return x.number(v)
			}
			return y.number(v)
		}
	case boolean:
		n.boolean = func(v *env) bool {
			if test(v) {
				return x.boolean(v)
			}
			return y.boolean(v)
		}
	case text:
		n.text = func(v *env) string {
			if test(v) {
				return x.text(v)
			}
			return y.text(v)
		}
	}
	return n, nil
}
