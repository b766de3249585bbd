package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Entry is one policy of a Catalogue.
type Entry struct {
	Name string
	// Module is the file name, without ".so", of the original system's module
	// with this policy; "" if it had none.
	Module string
	New    func(Config) (Policy, error)
}

// Catalogue is a list of policies, sorted by name. A program hands its own to
// what must find policies by name, so that those link no policy by themselves.
type Catalogue []Entry

// New makes the policy of the given name from its configuration. It is an error
// if there is none, or if it refuses the configuration.
func (c Catalogue) New(name string, cfg Config) (Policy, error) {
	for _, e := range c {
		if e.Name == name {
			return e.New(cfg)
		}
	}
	return nil, fmt.Errorf("unknown policy %q; known: %s", name, strings.Join(c.Names(), ", "))
}

// Names returns the names of all policies.
func (c Catalogue) Names() []string {
	var names []string
	for _, e := range c {
		names = append(names, e.Name)
	}
	return names
}

// Find returns the name of the policy that a configuration means by name, and
// whether there is one: a name of Names, or a module name of the original
// system, with or without directory and ".so", so that its configuration files
// run unchanged ("/usr/local/lib/mam-policies/threshold_policy.so" is
// "threshold").
func (c Catalogue) Find(name string) (string, bool) {
	if slices.Contains(c.Names(), name) {
		return name, true
	}
	module := strings.TrimSuffix(path.Base(name), ".so")
	for _, e := range c {
		if e.Module != "" && e.Module == module {
			return e.Name, true
		}
	}
	return "", false
}
