package score

import (
	"math"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// functionNames are the names of all functions, for error messages.
var functionNames = []string{"abs", "ceil", "completion_time", "floor", "known", "log", "max", "min", "or_else", "pow", "sqrt"}

func (c *compiler) call(e *hclsyntax.FunctionCallExpr) (node, *positioned) {
	if e.ExpandFinal {
		return node{}, wrong(e, "the arguments of %s must be written out", e.Name)
	}
	if e.Name == "known" {
		return c.known(e)
	}
	least, most := 1, 1
	switch e.Name {
	case "abs", "ceil", "floor", "log", "sqrt":
	case "pow", "or_else":
		least, most = 2, 2
	case "min", "max":
		least, most = 1, 32
	case "completion_time":
		least, most = 0, 3
	default:
		return node{}, wrong(e, "unknown function %q; known: %s", e.Name, strings.Join(functionNames, ", "))
	}
	if n := len(e.Args); n < least || n > most || e.Name == "completion_time" && n != 0 && n != 3 {
		return node{}, wrong(e, "%s does not take %d arguments", e.Name, n)
	}
	args, unit, err := c.arguments(e)
	if err != nil {
		return node{}, err
	}
	return node{kind: number, unit: unit, number: c.function(e.Name, args)}, nil
}

// arguments compiles the arguments of a function that takes numbers. It also returns
// the unit of the result: the unit that all arguments share, if the function keeps it.
func (c *compiler) arguments(e *hclsyntax.FunctionCallExpr) (args []func(*env) float64, unit policy.Unit, err *positioned) {
	wants := make([]policy.Unit, len(e.Args))
	list := make([]node, len(e.Args))
	for i, a := range e.Args {
		if list[i], err = c.expr(a); err != nil {
			return nil, unit, err
		}
		if list[i].unit != policy.None {
			unit = list[i].unit
		}
	}
	switch e.Name {
	case "abs", "ceil", "floor", "max", "min", "or_else":
		for i := range wants {
			wants[i] = unit
		}
	case "completion_time":
		unit = policy.Milliseconds
		copy(wants, []policy.Unit{policy.Bytes, policy.ByteRate, policy.Milliseconds})
	default:
		unit = policy.None
	}
	for i, n := range list {
		if n, err = n.quantity(e.Args[i], wants[i]); err != nil {
			return nil, unit, err
		}
		if n.kind != number {
			return nil, unit, wrong(e.Args[i], "must be %s here, not %s", number, n.kind)
		}
		args = append(args, n.number)
	}
	return args, unit, nil
}

func (c *compiler) function(name string, args []func(*env) float64) func(*env) float64 {
	switch name {
	case "abs":
		return func(v *env) float64 { return math.Abs(args[0](v)) }
	case "ceil":
		return func(v *env) float64 { return math.Ceil(args[0](v)) }
	case "floor":
		return func(v *env) float64 { return math.Floor(args[0](v)) }
	case "log":
		return func(v *env) float64 { return math.Log(args[0](v)) }
	case "sqrt":
		return func(v *env) float64 { return math.Sqrt(args[0](v)) }
	case "pow":
		return func(v *env) float64 { return math.Pow(args[0](v), args[1](v)) }
	case "min":
		return fold(args, math.Min)
	case "max":
		return fold(args, math.Max)
	case "or_else":
		return func(v *env) float64 {
			before := v.unknown
			v.unknown = false
			x := args[0](v)
			failed := v.unknown || math.IsNaN(x) || math.IsInf(x, 0)
			v.unknown = before
			if failed {
				return args[1](v)
			}
			return x
		}
	}
	if len(args) == 0 {
		c.lease.intents = append(c.lease.intents, intent.OptFileSize)
		c.reads(measured(policy.MetricSRTTMedian, "prefix."+policy.MetricSRTTMedian.String()))
		return func(v *env) float64 {
			size, given := v.r.Intents.FileSize()
			v.unknown = v.unknown || !given
			return v.completion(float64(size), float64(predict.FreeCapacity(v.own.p)), predict.Value(policy.MetricSRTTMedian, v.own.p))
		}
	}
	return func(v *env) float64 { return v.completion(args[0](v), args[1](v), args[2](v)) }
}

func fold(args []func(*env) float64, f func(x, y float64) float64) func(*env) float64 {
	return func(v *env) float64 {
		x := args[0](v)
		for _, a := range args[1:] {
			x = f(x, a(v))
		}
		return x
	}
}

// completion predicts the completion time over the candidate, with regard to its idle
// sockets and the request's TLS.
func (v *env) completion(size, capacity, rtt float64) float64 {
	bytes := int64(max(min(size, math.MaxInt64/2), math.MinInt64/2))
	t := predict.Completion(bytes, policy.BytesPerSecond(capacity), predict.Millis(rtt), v.own.idle > 0, predict.TLS(v.r))
	if !t.Known() || math.IsNaN(size) {
		v.unknown = true
		return math.NaN()
	}
	return float64(t)
}

// known compiles known(x), which is true if every value that x reads is known.
func (c *compiler) known(e *hclsyntax.FunctionCallExpr) (node, *positioned) {
	if len(e.Args) != 1 {
		return node{}, wrong(e, "known takes one argument, not %d", len(e.Args))
	}
	n, err := c.expr(e.Args[0])
	if err != nil {
		return n, err
	}
	evaluate := func(v *env) {}
	switch n.kind {
	case number:
		evaluate = func(v *env) {
			if x := n.number(v); math.IsNaN(x) || math.IsInf(x, 0) {
				v.unknown = true
			}
		}
	case boolean:
		evaluate = func(v *env) { n.boolean(v) }
	case text:
		evaluate = func(v *env) { n.text(v) }
	}
	return node{kind: boolean, boolean: func(v *env) bool {
		before := v.unknown
		v.unknown = false
		evaluate(v)
		known := !v.unknown
		v.unknown = before
		return known
	}}, nil
}
