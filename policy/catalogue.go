package policy

import (
	"errors"
	"fmt"
	"io"
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
	// Title is what that module called itself when it was loaded, which is printed
	// where the configuration is the original's; "" means Name.
	Title string
	New   func(Config) (Policy, error)
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

// Title returns the title of the policy of the given name, which is the name where
// there is no other.
func (c Catalogue) Title(name string) string {
	for _, e := range c {
		if e.Name == name && e.Title != "" {
			return e.Title
		}
	}
	return name
}

// Readers returns the names of the policies that know a setting of this name, in
// a policy block or, where ofPrefix, in the options of a prefix. It asks each by
// making it with the setting, and with one that nobody knows.
func (c Catalogue) Readers(setting string, ofPrefix bool) []string {
	var readers []string
	for _, e := range c {
		if refuses(e, "no such setting", ofPrefix) && !refuses(e, setting, ofPrefix) {
			readers = append(readers, e.Name)
		}
	}
	return readers
}

// refuses tells whether a policy does not know a setting.
func refuses(e Entry, setting string, ofPrefix bool) bool {
	// A list suits next to no setting, so hardly a policy is made, and no file opened.
	s := Setting{Name: setting, List: []string{}, Constant: true}
	cfg := Config{Name: e.Name, Settings: []Setting{s}}
	if ofPrefix {
		cfg = Config{Name: e.Name, PrefixSettings: []Setting{s}}
	}
	p, err := e.New(cfg)
	if closer, ok := p.(io.Closer); ok && err == nil {
		_ = closer.Close() // it was never used
	}
	unknown := (*UnknownSettingError)(nil)
	return errors.As(err, &unknown) && unknown.Name == setting
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
