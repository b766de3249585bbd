package simulate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// Scheme is a way to use several paths: a comparator or a policy.
type Scheme struct {
	Name string
	new  func(seed uint64, prefixes []*policy.Prefix) (policy.Policy, error)
	// reuses tells that the policy is asked for every object, with the idle
	// connections. Else a program reuses a connection without asking, and the
	// policy decides on new ones only.
	reuses bool
	// eager opens all subflows of a connection at once.
	eager bool
}

// Net is the scheme that uses one path alone, the first is 1.
func Net(n int) Scheme {
	return Scheme{Name: "net" + strconv.Itoa(n), new: func(uint64, []*policy.Prefix) (policy.Policy, error) { return fixed{path: n - 1}, nil }}
}

// RoundRobin is the scheme in which each new connection takes the next path, by
// policy rr_naive.
func RoundRobin() Scheme {
	return Scheme{Name: "round robin", new: builtin("rr_naive")}
}

// MPTCP is the scheme in which every connection uses all paths, by Multipath TCP with
// its lowest-RTT scheduler. The first subflow takes the default path. Its subflows are
// not coupled, as in Linux.
func MPTCP() Scheme {
	return Scheme{Name: "mptcp", new: func(uint64, []*policy.Prefix) (policy.Policy, error) { return fixed{multipath: true}, nil }}
}

// Ideal is MPTCP as it could be at best: all subflows open at once, and a request
// goes over the first that is open.
func Ideal() Scheme {
	s := MPTCP()
	s.Name, s.eager = "ideal mptcp", true
	return s
}

// Policy is the scheme of that policy, with settings as "name=value".
func Policy(name string, settings ...string) Scheme {
	s := Scheme{Name: name, new: builtin(name, settings...), reuses: true}
	if len(settings) > 0 {
		s.Name += " " + strings.Join(settings, " ")
	}
	return s
}

// With is the scheme of a policy that is made by new.
func With(name string, make func(policy.Config) (policy.Policy, error)) Scheme {
	return Scheme{Name: name, reuses: true, new: func(seed uint64, prefixes []*policy.Prefix) (policy.Policy, error) {
		return make(policy.Config{Name: name, Seed: seed, Prefixes: prefixes})
	}}
}

func builtin(name string, settings ...string) func(uint64, []*policy.Prefix) (policy.Policy, error) {
	return func(seed uint64, prefixes []*policy.Prefix) (policy.Policy, error) {
		cfg := policy.Config{Name: name, Seed: seed, Prefixes: prefixes}
		for i, text := range settings {
			key, value, _ := strings.Cut(text, "=")
			cfg.Settings = append(cfg.Settings, policy.Setting{
				Name: key, Value: value, Expr: value, Constant: true, Block: fmt.Sprintf("policy %q", name), File: "scheme", Line: i + 1, Column: 1,
			})
		}
		return policies.All().New(name, cfg)
	}
}

// fixed is the policy of the comparators.
type fixed struct {
	path      int
	multipath bool
}

func (f fixed) Choose(r *policy.Request) policy.Decision {
	return policy.Decision{Prefix: r.Prefixes[f.path], Multipath: f.multipath}
}
