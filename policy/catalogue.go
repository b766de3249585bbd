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
	// Module is the file name, without ".so", of this policy's module in the Socket
	// Intents prototype; "" if the prototype had none.
	Module string
	// Title is the name that the module printed when it was loaded. Title is printed if
	// the configuration is in the grammar of the Socket Intents prototype. "" means Name.
	Title string
	New   func(Config) (Policy, error)
}

// Catalogue is a list of policies, sorted by name. A program passes its Catalogue to
// the packages that find policies by name. Those packages then need not link any policy
// themselves.
type Catalogue []Entry

// New makes the policy with the given name from its configuration. It returns an error
// if there is no such policy, or if the policy refuses the configuration.
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

// Title returns the title of the policy with the given name. Without an own title that
// is the name.
func (c Catalogue) Title(name string) string {
	for _, e := range c {
		if e.Name == name && e.Title != "" {
			return e.Title
		}
	}
	return name
}

// Readers returns the names of the policies that know a setting of this name, in a
// policy block or, with ofPrefix, in a prefix block. To find out, it makes each policy
// twice: with the setting, and with one that no policy knows.
func (c Catalogue) Readers(setting string, ofPrefix bool) []string {
	var readers []string
	for _, e := range c {
		if refuses(e, "no such setting", ofPrefix) && !refuses(e, setting, ofPrefix) {
			readers = append(readers, e.Name)
		}
	}
	return readers
}

// refuses tells whether a policy reports a setting as unknown.
func refuses(e Entry, setting string, ofPrefix bool) bool {
	// A list is a wrong value for nearly every setting, so that hardly any policy is
	// really made and no file is opened.
	s := Setting{Name: setting, List: []string{}, Constant: true}
	cfg := Config{Name: e.Name, Settings: []Setting{s}}
	if ofPrefix {
		cfg = Config{Name: e.Name, PrefixSettings: []Setting{s}}
	}
	p, err := e.New(cfg)
	if closer, ok := p.(io.Closer); ok && err == nil {
		_ = closer.Close() // the policy was never used
	}
	unknown := (*UnknownSettingError)(nil)
	return errors.As(err, &unknown) && unknown.Name == setting
}

// Find returns the name of the policy that a configuration means by name, and whether
// there is one. Find takes a name of Names. So that configuration files of the Socket
// Intents prototype run unchanged, Find also takes the name of a module there, with or
// without directory and ".so":
// "/usr/local/lib/mam-policies/threshold_policy.so" is "threshold".
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
