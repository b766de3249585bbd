package score

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// roots are the words with which names begin.
var roots = []string{"intent", "link", "lowest_rtt", "prefix", "request"}

// name compiles a name such as prefix.srtt_median_recent.
func (c *compiler) name(e *hclsyntax.ScopeTraversalExpr) (node, *positioned) {
	root := e.Traversal.RootName()
	if !slices.Contains(roots, root) {
		if len(e.Traversal) == 1 {
			return node{}, wrong(e, "unknown name %q; a text has quotes: %q; known names: %s", root, root, strings.Join(roots, ", "))
		}
		return node{}, wrong(e, "unknown name %q; known: %s", root, strings.Join(roots, ", "))
	}
	var attr string
	if len(e.Traversal) == 2 {
		if a, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
			attr = a.Name
		}
	}
	c.note(root, attr)
	var n node
	var ok bool
	switch root {
	case "request":
		n, ok = requestName(attr)
	case "intent":
		n, ok = intentName(attr)
	case "lowest_rtt":
		n, ok = subjectName(root, attr, func(v *env) subject { return v.low })
	default:
		n, ok = subjectName(root, attr, func(v *env) subject { return v.own })
		if m, isMetric := policy.ParseMetric(attr); ok && isMetric {
			c.reads(measured(m, root+"."+attr))
		} else if count := connections[attr]; count != nil {
			c.reads(counted(count, root+"."+attr))
		}
	}
	if !ok {
		return node{}, wrong(e, "unknown name \"%s.%s\"; known in %s: %s", root, attr, root, strings.Join(attributes(root), ", "))
	}
	return n, nil
}

// note notes which part of the request a name reads.
func (c *compiler) note(root, attr string) {
	switch {
	case root == "intent":
		if o, err := intent.ParseOption(attr); err == nil {
			c.lease.intents = append(c.lease.intents, o)
		}
	case root == "request" && attr == "host":
		c.lease.host = true
	case attr == "sockets", attr == "idle_sockets":
		c.lease.sockets = true
	case connections[attr] != nil:
		c.lease.connections = true
	}
}

// reads notes a figure of the candidate. It will be shown with the score.
func (c *compiler) reads(in input) {
	if !slices.ContainsFunc(c.inputs, func(i input) bool { return i.name == in.name }) {
		c.inputs = append(c.inputs, in)
	}
}

func measured(m policy.Metric, name string) input {
	return input{name, m.Unit(), func(_ *policy.Request, p *policy.Prefix) (float64, bool) { return m.Known(p) }, m.Time}
}

func counted(count func(policy.Connections) int, name string) input {
	return input{name, policy.Count, func(r *policy.Request, p *policy.Prefix) (float64, bool) {
		c, known := r.ConnectionsOn(p)
		return float64(count(c)), known
	}, func(*policy.Prefix) time.Time { return time.Time{} }}
}

// connections maps the names for counts of connections to these counts.
var connections = map[string]func(policy.Connections) int{
	"program_connections": func(c policy.Connections) int { return c.Program },
	"user_connections":    func(c policy.Connections) int { return c.User },
}

// attributes lists the names that can follow a root.
func attributes(root string) []string {
	list := map[string][]string{
		"request":    {"command", "family", "host", "kind", "port", "service", "sockets", "tls", "transport", "uid"},
		"prefix":     {"cost", "default", "family", "health", "idle_sockets", "interface", "is_lowest_rtt", "name", "network", "program_connections", "user_connections"},
		"link":       {"free_capacity", "free_or_busy_capacity"},
		"lowest_rtt": {"cost", "default", "family", "free_capacity", "free_or_busy_capacity", "health", "idle_sockets", "interface", "name", "network", "program_connections", "user_connections"},
	}[root]
	if root == "intent" {
		for _, o := range intent.Options() {
			list = append(list, o.String())
		}
	}
	for _, m := range policy.Metrics() {
		if root == "lowest_rtt" || root == owner(m) {
			list = append(list, m.String())
		}
	}
	slices.Sort(list)
	return list
}

// owner returns the root under which a metric of the candidate is found.
func owner(m policy.Metric) string {
	if m.OfLink() {
		return "link"
	}
	return "prefix"
}

func requestName(attr string) (node, bool) {
	texts := map[string]func(*env) string{
		"command":   func(v *env) string { return v.r.App.Command },
		"family":    func(v *env) string { return v.r.Network.Family.String() },
		"host":      func(v *env) string { return v.r.Host },
		"kind":      func(v *env) string { return v.r.Kind.String() },
		"service":   func(v *env) string { return v.r.Service },
		"transport": func(v *env) string { return v.r.Network.Transport.String() },
	}
	numbers := map[string]func(*env) float64{
		"port":    func(v *env) float64 { return float64(v.r.Port) },
		"sockets": func(v *env) float64 { return float64(len(v.r.Sockets)) },
		"uid":     func(v *env) float64 { return float64(v.r.App.UID) },
	}
	if attr == "tls" {
		return node{kind: boolean, boolean: func(v *env) bool { return predict.TLS(v.r) }}, true
	}
	if f, ok := numbers[attr]; ok {
		return node{kind: number, number: f}, true
	}
	f, ok := texts[attr]
	return node{kind: text, text: f}, ok
}

// intentName compiles the name of an intent. An intent that is not given is unknown.
func intentName(attr string) (node, bool) {
	for _, o := range intent.Options() {
		if o.String() != attr {
			continue
		}
		get := func(v *env) int64 {
			n, given := v.r.Intents.Get(o)
			v.unknown = v.unknown || !given
			return n
		}
		if o.Words() == nil {
			n := node{kind: number, number: func(v *env) float64 { return float64(get(v)) }}
			if o == intent.OptFileSize { // the units of the other intents depend on the application
				n.unit = policy.Bytes
			}
			return n, true
		}
		return node{kind: text, text: func(v *env) string {
			return o.Word(max(min(get(v), math.MaxInt32), math.MinInt32))
		}}, true
	}
	return node{}, false
}

// subjectName compiles a name for a figure of a prefix or its link.
func subjectName(root, attr string, of func(*env) subject) (node, bool) {
	if !slices.Contains(attributes(root), attr) {
		return node{}, false
	}
	if m, ok := policy.ParseMetric(attr); ok {
		return in(m.Unit(), figure(of, func(s subject) (float64, bool) { return m.Known(s.p) })), true
	}
	if count := connections[attr]; count != nil {
		return node{kind: number, number: func(v *env) float64 {
			c, known := v.r.ConnectionsOn(of(v).p)
			v.unknown = v.unknown || !known
			return float64(count(c))
		}}, true
	}
	switch attr {
	case "idle_sockets":
		return figure(of, func(s subject) (float64, bool) { return float64(s.idle), true }), true
	case "free_capacity":
		return in(policy.ByteRate, figure(of, func(s subject) (float64, bool) { return capacity(predict.FreeCapacity(s.p)) })), true
	case "free_or_busy_capacity":
		return in(policy.ByteRate, figure(of, func(s subject) (float64, bool) { return capacity(predict.FreeOrBusyCapacity(s.p)) })), true
	case "default":
		return truth(of, func(_ *env, p *policy.Prefix) bool { return p.Default }), true
	case "is_lowest_rtt":
		return truth(of, func(v *env, p *policy.Prefix) bool { return p == v.low.p }), true
	}
	texts := map[string]func(*policy.Prefix) string{
		"cost":      func(p *policy.Prefix) string { return p.Cost.String() },
		"family":    func(p *policy.Prefix) string { return p.Family().String() },
		"health":    func(p *policy.Prefix) string { return p.Health.State.String() },
		"interface": func(p *policy.Prefix) string { return p.Interface },
		"name":      func(p *policy.Prefix) string { return p.Name },
		"network":   func(p *policy.Prefix) string { return p.CIDR.String() },
	}
	f, ok := texts[attr]
	return node{kind: text, text: func(v *env) string {
		if s := of(v); s.p != nil {
			return f(s.p)
		}
		v.unknown = true
		return ""
	}}, ok
}

// in returns n with the unit of its values set.
func in(unit policy.Unit, n node) node {
	n.unit = unit
	return n
}

func figure(of func(*env) subject, f func(subject) (float64, bool)) node {
	return node{kind: number, number: func(v *env) float64 {
		if s := of(v); s.p != nil {
			if x, known := f(s); known {
				return x
			}
		}
		v.unknown = true
		return 0
	}}
}

func truth(of func(*env) subject, f func(*env, *policy.Prefix) bool) node {
	return node{kind: boolean, boolean: func(v *env) bool {
		if s := of(v); s.p != nil {
			return f(v, s.p)
		}
		v.unknown = true
		return false
	}}
}

func capacity(c policy.BytesPerSecond) (float64, bool) { return float64(c), c > 0 }
