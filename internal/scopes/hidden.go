package scopes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/config"
)

// Doubts says which parts of a configuration's scopes match nothing on this host, for reasons
// that will not pass by themselves. problem makes the text for people from the place in the file.
func Doubts(list []config.Scope, problem func(config.Pos, string) string) []string {
	var texts []string
	var before []*scope
	for i := range list {
		s, warnings := compile(&list[i], 0)
		for _, w := range warnings {
			texts = append(texts, problem(s.Pos, w))
		}
		if w := s.hiddenBy(before); w != "" {
			texts = append(texts, problem(s.Pos, w))
		}
		before = append(before, s)
	}
	return texts
}

// hiddenBy says why no connection can belong to a scope, because others that come before it in
// the file have all that it matches. "": some may.
func (s *scope) hiddenBy(before []*scope) string {
	if s.none {
		return "" // there is another warning about that
	}
	users, commands := []*uint32{nil}, []string{""}
	if len(s.users) > 0 {
		users = nil
		for _, u := range s.users {
			users = append(users, &u)
		}
	}
	if len(s.Commands) > 0 {
		commands = s.Commands
	}
	var by []*scope
	for _, u := range users {
		for _, c := range commands {
			i := slices.IndexFunc(before, func(o *scope) bool { return o.has(s, u, c) })
			if i < 0 {
				return ""
			}
			if !slices.Contains(by, before[i]) {
				by = append(by, before[i])
			}
		}
	}
	if len(by) == 1 {
		return fmt.Sprintf("scope %q never matches: scope %q in line %d matches the same, and comes first", s.Name, by[0].Name, by[0].Pos.Line)
	}
	var names []string
	for _, o := range by {
		names = append(names, fmt.Sprintf("%q in line %d", o.Name, o.Pos.Line))
	}
	return fmt.Sprintf("scope %q never matches: the scopes %s match the same together, and come first", s.Name, strings.Join(names, ", "))
}

// has tells whether o, which comes first, is at least as specific as s wherever s matches a
// connection of a user and a command. nil and "" are any, for which s is.
func (o *scope) has(s *scope, u *uint32, command string) bool {
	if o.none || (len(o.Users) > 0) != (len(s.Users) > 0) || (len(o.Commands) > 0) != (len(s.Commands) > 0) {
		return false
	}
	if u != nil && !slices.Contains(o.users, *u) || command != "" && !slices.Contains(o.Commands, command) {
		return false
	}
	lists := 0
	for _, l := range [][2][]string{{o.Units, s.Units}, {o.Slices, s.Slices}, {everywhere(o.Groups), everywhere(s.Groups)}} {
		if (len(l[0]) > 0) != (len(l[1]) > 0) || !covered(l[1], l[0]) {
			return false
		}
		if len(l[1]) > 0 {
			lists++
		}
	}
	switch lists {
	case 0:
		return true
	case 1:
	default:
		// With more patterns in one of its lists, o may match that one by another name, and so less
		// exactly, while the other list says how deep both lie.
		if !subset(o.Units, s.Units) || !subset(o.Slices, s.Slices) || !subset(o.Groups, s.Groups) {
			return false
		}
	}
	return subset(s.users, o.users) // whose names of groups count
}

// everywhere returns a list of paths of control groups, or nil if it stands for all.
func everywhere(groups []string) []string {
	if slices.ContainsFunc(groups, func(g string) bool { return g != "/" }) {
		return groups
	}
	return nil
}

// covered tells whether one of some patterns matches at least what each of list matches, and
// names what list names.
func covered(list, by []string) bool {
	return !slices.ContainsFunc(list, func(x string) bool {
		return !slices.ContainsFunc(by, func(o string) bool { return o == x || strings.ContainsAny(x, meta) && wider(o, x) })
	})
}

// meta are the characters that make a name a pattern of path.Match.
const meta = `*?[\`

// wider tells whether pattern o, with no more than one *, certainly matches all that pattern x
// matches.
func wider(o, x string) bool {
	begin, end, ok := strings.Cut(o, "*")
	if !ok || strings.ContainsAny(begin+end, meta+"]") || len(x) < len(begin)+len(end) || !strings.HasPrefix(x, begin) || !strings.HasSuffix(x, end) {
		return false
	}
	return !strings.ContainsAny(x[len(begin):len(x)-len(end)], "/[") // a * does not match a /
}

func subset[T comparable](list, of []T) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !slices.Contains(of, x) })
}
