package hostfile

import (
	"fmt"
	"strings"
)

// Host is a description. The zero value is a host that has only loopback.
type Host struct {
	Title  string      `json:"title"`
	State  []Statement `json:"state"`  // in the order of the file
	Config []string    `json:"config"` // lines of the configuration; none: the automatic one
	Want   []Statement `json:"want"`   // what the host should do
}

// Statement is a line of a description.
type Statement struct {
	Line int    `json:"-"`    // in the file, from 1; 0 if it comes from none
	Verb string `json:"verb"` // such as "route6"
	Args []Arg  `json:"args"`
}

// Arg is a word of a statement with its value.
type Arg struct {
	Key   string `json:"key,omitempty"`   // "" if the place of the value tells its meaning
	Value string `json:"value,omitempty"` // "" for words that take none; two words where ip(8) has two, such as "lock 1300"
}

// Get returns the value of the first argument with the key, and whether there is one.
func (s *Statement) Get(key string) (string, bool) {
	for _, a := range s.Args {
		if a.Key == key {
			return a.Value, true
		}
	}
	return "", false
}

// Value is Get without telling an absent value from an empty one.
func (s *Statement) Value(key string) string {
	v, _ := s.Get(key)
	return v
}

// Has tells whether the statement has the word.
func (s *Statement) Has(key string) bool {
	_, ok := s.Get(key)
	return ok
}

// IPv6 tells whether the verb is one for IPv6.
func (s *Statement) IPv6() bool { return strings.HasSuffix(s.Verb, "6") }

// Object returns the verb without its family, such as "route".
func (s *Statement) Object() string { return strings.TrimSuffix(s.Verb, "6") }

// Words returns the arguments as they are written after the verb.
func (s *Statement) Words() string {
	var words []string
	for _, a := range s.Args {
		if a.Key != "" {
			words = append(words, a.Key)
		}
		if a.Value != "" {
			words = append(words, a.Value)
		}
	}
	return strings.Join(words, " ")
}

func (s *Statement) String() string { return s.Verb + " " + s.Words() }

// String returns the description in the form that Parse reads.
func (h *Host) String() string {
	var b strings.Builder
	if h.Title != "" {
		b.WriteString("# " + h.Title + "\n")
	}
	for i := range h.State {
		b.WriteString(h.State[i].String() + "\n")
	}
	for _, c := range h.Config {
		b.WriteString(strings.TrimSpace("config "+c) + "\n")
	}
	for i := range h.Want {
		b.WriteString(h.Want[i].String() + "\n")
	}
	return b.String()
}

// All returns the statements of the state with that verb.
func (h *Host) All(verb string) []Statement {
	var list []Statement
	for _, s := range h.State {
		if s.Verb == verb {
			list = append(list, s)
		}
	}
	return list
}

// Sysctl returns the path below /proc/sys and the value of a sysctl statement.
func (s *Statement) Sysctl() (path, value string, err error) {
	if s.Verb != "sysctl" || len(s.Args) == 0 {
		return "", "", fmt.Errorf("%s is not a sysctl", s.Verb)
	}
	return sysctl(s.Args[0].Value)
}
