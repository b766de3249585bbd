// Package policies is the list of the policies that are compiled into the
// daemon. Each is a package of its own below; nothing registers itself.
package policies

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/mam/policy"
	"github.com/socket-intents/mamma/policies/intents"
	"github.com/socket-intents/mamma/policies/sample"
)

// builtin is one compiled-in policy.
type builtin struct {
	name   string
	module string // file name of the original's module, without ".so"
	make   func(policy.Config) (policy.Policy, error)
}

// list returns all policies, sorted by name.
func list() []builtin {
	return []builtin{
		{"intents", "policy_intents", intents.New},
		{"sample", "policy_sample", sample.New},
	}
}

// New makes the policy of the given name from its configuration. It is an error
// if there is none, or if it refuses the configuration.
func New(name string, cfg policy.Config) (policy.Policy, error) {
	for _, b := range list() {
		if b.name == name {
			return b.make(cfg)
		}
	}
	return nil, fmt.Errorf("unknown policy %q; known: %s", name, strings.Join(Names(), ", "))
}

// Names returns the names of all policies, sorted.
func Names() []string {
	var names []string
	for _, b := range list() {
		names = append(names, b.name)
	}
	return names
}

// Builtin returns the name of the policy that a configuration means by name,
// and whether there is one: a name of Names, or a module name of the original,
// with or without directory and ".so", so that its configuration files run
// unchanged ("/usr/local/lib/mam-policies/threshold_policy.so" is "threshold").
func Builtin(name string) (string, bool) {
	if slices.Contains(Names(), name) {
		return name, true
	}
	module := strings.TrimSuffix(path.Base(name), ".so")
	for _, b := range list() {
		if b.module == module {
			return b.name, true
		}
	}
	return "", false
}
