package hostfile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of what Parse accepts, far beyond any real host.
const (
	maxSize  = 4 << 20
	maxWords = 512
)

// Error says what is wrong in a description, and where.
type Error struct {
	File string
	Line int // from 1
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a description. file is its name for errors, which are of type *Error. All
// errors are returned, joined.
func Parse(text []byte, file string) (*Host, error) {
	if len(text) > maxSize {
		return nil, &Error{file, 1, fmt.Errorf("longer than %d bytes", maxSize)}
	}
	p := parser{host: &Host{}, names: map[string]bool{"lo": true}}
	var errs []error
	line := 0
	for l := range strings.Lines(string(text)) {
		line++
		if err := p.line(strings.TrimSpace(l), line); err != nil {
			errs = append(errs, &Error{file, line, err})
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p.host, nil
}

type parser struct {
	host  *Host
	names map[string]bool // of links, altnames included
}

func (p *parser) line(text string, line int) error {
	if comment, ok := strings.CutPrefix(text, "#"); ok {
		if p.host.Title == "" {
			p.host.Title = strings.TrimSpace(comment)
		}
		return nil
	}
	if text == "" {
		return nil
	}
	words := strings.Fields(text)
	if len(words) > maxWords {
		return fmt.Errorf("more than %d words", maxWords)
	}
	g, ok := grammars[words[0]]
	if !ok {
		return fmt.Errorf("%q is not a statement", words[0])
	}
	s := Statement{Line: line, Verb: words[0]}
	if err := p.arguments(&s, g, words[1:]); err != nil {
		return err
	}
	switch {
	case s.Verb == "config":
		if first := s.Args[0].Value; !harmless(first) {
			return fmt.Errorf("config takes only %s, not %q: a description comes from others, and names no files", strings.Join(settings, ", "), first)
		}
		p.host.Config = append(p.host.Config, strings.TrimSpace(strings.TrimPrefix(text, "config")))
		return nil
	case slices.Contains(strings.Fields(wanted), s.Verb):
		p.host.Want = append(p.host.Want, s)
	default:
		p.host.State = append(p.host.State, s)
	}
	return p.complete(&s)
}

// settings are the settings of mamma's configuration that a description may contain.
// The user who loads a stranger's description often has many rights, and other settings
// name files to write and code to load.
var settings = []string{"auto", "routing", "interface", "prefix", "far_away", "avoid_metered"}

// harmless tells whether a line of the configuration consists of one such setting.
func harmless(line string) bool {
	first := strings.TrimRight(line[:strings.IndexAny(line+" ", " \t={\"")], " ")
	return slices.Contains(settings, first) && !strings.ContainsAny(line, "\r\v\f") && !strings.Contains(line, "/*") && !strings.Contains(line, "resolvconf")
}

// arguments reads the words after the verb.
func (p *parser) arguments(s *Statement, g grammar, words []string) error {
	if len(words) > 0 && slices.Contains(strings.Fields(g.types), words[0]) {
		s.Args, words = append(s.Args, Arg{Key: words[0]}), words[1:]
	}
	if len(words) == 1 && words[0] == "none" && (s.Verb == "managed" || s.Verb == "doctor") {
		s.Args = append(s.Args, Arg{Value: "none"})
		return nil
	}
	for _, k := range g.first {
		if k == rest {
			s.Args = append(s.Args, Arg{Value: strings.Join(words, " ")})
			words = nil
			break
		}
		if len(words) == 0 {
			return fmt.Errorf("%s says too little", s.Verb)
		}
		if err := p.check(k, words[0]); err != nil {
			return fmt.Errorf("%q is %w", words[0], err)
		}
		s.Args, words = append(s.Args, Arg{Value: words[0]}), words[1:]
	}
	seen := map[string]bool{}
	for len(words) > 0 {
		key := words[0]
		k, ok := g.words[key]
		if !ok {
			return fmt.Errorf("%s knows no %q", s.Verb, key)
		}
		if key == "nexthop" {
			clear(seen)
		} else if seen[key] && g.repeats != key {
			return fmt.Errorf("%s says %s twice", s.Verb, key)
		}
		seen[key] = true
		var value string
		var err error
		if value, words, err = take(k, words[1:]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if err := p.check(k, value); err != nil {
			return fmt.Errorf("%s: %q is %w", key, value, err)
		}
		s.Args = append(s.Args, Arg{key, value})
	}
	return nil
}

// take takes the value of a word from the words after it.
func take(k kind, words []string) (value string, after []string, err error) {
	n := 1
	switch {
	case k == encapsulation:
		if n, err = takeEncapsulation(words); err != nil {
			return "", nil, err
		}
	case k == flag:
		n = 0
	case k == rest:
		n = max(len(words), 1)
	case len(words) > 0 && (k == gateway && (words[0] == "inet" || words[0] == "inet6") || k == locked && words[0] == "lock"):
		n = 2
	}
	if len(words) < n {
		return "", nil, errors.New("without its value")
	}
	return strings.Join(words[:n], " "), words[n:], nil
}

func (p *parser) check(k kind, v string) error {
	if err := check(k, v); err != nil {
		return err
	}
	if k == device && !p.names[v] {
		return errors.New("not a link of this host")
	}
	return nil
}

// complete checks conditions that concern several words.
func (p *parser) complete(s *Statement) error {
	first := ""
	if len(s.Args) > 0 {
		first = s.Args[0].Value
	}
	switch s.Object() {
	case "sysctl":
		_, _, err := sysctl(first)
		return err
	case "link":
		return p.link(s, first)
	case "addr", "neigh":
		if !s.Has("dev") {
			return errors.New("without dev")
		}
		a, err := parsePrefix(first)
		if err != nil || a.Addr().Zone() != "" {
			return fmt.Errorf("%q has a zone; dev says the interface", first)
		}
	case "nexthop":
		if !s.Has("id") {
			return errors.New("without id")
		}
	case "route", "rule":
		return families(s)
	case "connect", "unbound":
		if s.Has("refused") == s.Has("from") || s.Has("from") != s.Has("dev") {
			return errors.New(s.Verb + " wants from and dev, or refused")
		}
	case "kernel":
		if !s.Has("has") {
			return errors.New("without has")
		}
	}
	return nil
}

// maxIfName is the longest name (IFNAMSIZ without the final 0).
const maxIfName = 15

func (p *parser) link(s *Statement, first string) error {
	if len(first) > maxIfName {
		return fmt.Errorf("%q is longer than %d bytes; only altnames may be", first, maxIfName)
	}
	names := []string{first}
	for _, a := range s.Args {
		if a.Key == "altname" {
			names = append(names, a.Value)
		}
	}
	for _, n := range names {
		if p.names[n] {
			return fmt.Errorf("%q is there already", n)
		}
		p.names[n] = true
	}
	return nil
}

// families checks that addresses are of the verb's family. A gateway may be of the
// other family.
func families(s *Statement) error {
	for _, a := range s.Args {
		if a.Key == "via" || a.Value == "" {
			continue
		}
		if k, ok := grammars[s.Verb].words[a.Key]; a.Key != "" && (!ok || k != selector && k != address) {
			continue
		}
		v, err := parsePrefix(a.Value)
		if err != nil {
			continue // default, all, or the priority of a rule
		}
		if v.Addr().Is6() != s.IPv6() || v.Addr().Zone() != "" {
			return fmt.Errorf("%s is not an address for %s", a.Value, s.Verb)
		}
	}
	for _, a := range s.Args {
		if a.Key == "via" && !strings.Contains(a.Value, " ") {
			if g, err := netip.ParseAddr(a.Value); err == nil && g.Is6() != s.IPv6() {
				return fmt.Errorf("the gateway %s is of the other family: write \"via inet6\" or \"via inet\"", a.Value)
			}
		}
	}
	return nil
}
