package scopes

import (
	"fmt"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/wire"
)

// scope is a scope of the configuration with what was found out about it on this host.
type scope struct {
	*config.Scope
	id    uint32 // in the kernel's maps; an id is never used twice
	users []uint32
	// none tells that the scope names users, and that none of them exists on the host.
	none      bool
	selection []wire.Preference
	rules     *hook.Rules // nil: none
	variants  []variant   // at least one
	usual     []hook.Usual
	count     *Counts             // shared by scopes of the same name in successive configurations
	used      map[hook.Usual]bool // usual answers that were used since refresh was last called
}

// manner is how the kernel treats the scope.
func (s *scope) manner() hook.Manner {
	var how hook.Manner
	if s.Strict() {
		how |= hook.Strict
	}
	if s.MPTCP {
		how |= hook.Multipath
	}
	return how
}

// lookUp returns the number of a user.
func lookUp(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil && n < 1<<32-1 {
		return uint32(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q", name)
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// compile makes a scope from its configuration. The warnings are for people.
func compile(c *config.Scope, id uint32) (s *scope, warnings []string) {
	s = &scope{Scope: c, id: id, selection: preferences(c), count: &Counts{}, used: map[hook.Usual]bool{}}
	used := 0
	s.rules, s.variants, used = rulesOf(c)
	if used < len(c.Rules) {
		warnings = append(warnings, fmt.Sprintf("scope %q: rules overlap in too many ways: intents %q and those after it do not count", c.Name, c.Rules[used].Name))
	}
	s.usual = usuals(id, len(s.variants))
	for _, name := range c.Users {
		uid, err := lookUp(name)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("scope %q: %v", c.Name, err))
			continue
		}
		s.users = append(s.users, uid)
	}
	s.none = len(c.Users) > 0 && len(s.users) == 0
	return s, warnings
}

// place is a control group as scopes see it.
type place struct {
	names  []string // from the root on; the root itself has no name
	givers []giver  // for each name, who could have given it
}

// giver is the owner of the directory in which a control group was made.
type giver struct {
	uid  uint32
	open bool // others can make control groups there, too
}

func (p *place) path(n int) string { return "/" + strings.Join(p.names[:n], "/") }

// match tells whether a scope is about a group or about one above it. depth is how far from
// the root the deepest matching group lies. exact tells that no pattern was needed.
func (s *scope) match(p *place, own uint32) (depth int, exact, ok bool) {
	if s.none {
		return 0, false, false
	}
	exact = true
	for _, l := range []struct {
		patterns []string
		whole    bool // of paths
	}{{s.Units, false}, {s.Slices, false}, {s.Groups, true}} {
		if len(l.patterns) == 0 {
			continue
		}
		at, full := s.deepest(p, l.patterns, l.whole, own)
		if at < 0 {
			return 0, false, false
		}
		depth, exact = max(depth, at), exact && full
	}
	return depth, exact, true
}

// deepest finds the deepest group on the way to p that one of the patterns matches. at is how
// many names lead to it, or -1 if there is none. full tells that the name itself was given,
// not a pattern. whole tells that the patterns are for paths.
func (s *scope) deepest(p *place, patterns []string, whole bool, own uint32) (at int, full bool) {
	at = -1
	believed := true // so far
	for n := 0; n <= len(p.names); n++ {
		what := "/"
		if n > 0 {
			g := p.givers[n-1]
			by := !g.open && (g.uid == 0 || g.uid == own || slices.Contains(s.users, g.uid))
			if whole {
				believed = believed && by // all names of a path matter
			} else {
				believed = by
			}
			what = p.names[n-1]
		}
		if whole {
			what = p.path(n)
		}
		if !believed || n == 0 && !whole {
			continue
		}
		for _, x := range patterns {
			if ok, err := path.Match(x, what); err == nil && ok {
				if at != n {
					at, full = n, false
				}
				full = full || x == what
			}
		}
	}
	return at, full
}

// candidate is a scope that matches a group.
type candidate struct {
	*scope
	depth int
	exact bool
}

// before tells whether a is more specific than b. A command counts for more than a user, a
// user for more than the depth of the group, and the depth for more than a name in place of a
// pattern. Candidates that are equal in this keep the order of the file.
func (a *candidate) before(b *candidate) bool {
	switch {
	case (len(a.Commands) > 0) != (len(b.Commands) > 0):
		return len(a.Commands) > 0
	case (len(a.Users) > 0) != (len(b.Users) > 0):
		return len(a.Users) > 0
	case a.depth != b.depth:
		return a.depth > b.depth
	}
	return a.exact && !b.exact
}

// class stands for all control groups that belong to the same scopes.
type class struct {
	id      uint32
	members []member
	forms   hook.Forms
}

// whole returns the scope to which all processes of the class belong; nil: there is none.
func (c *class) whole() *scope {
	if len(c.members) != 1 || c.members[0].User != nil || c.members[0].Command != "" {
		return nil
	}
	return c.members[0].scope
}

// member says which processes of a class belong to which scope.
type member struct {
	hook.Member // without Class
	scope       *scope
}

// classOf returns the members of a group's class, and a text that is the same for all groups
// of that class.
func classOf(scopes []*scope, p *place, own uint32) ([]member, string) {
	var list []candidate
	users, commands := []*uint32{nil}, []string{""}
	for _, s := range scopes {
		depth, exact, ok := s.match(p, own)
		if !ok {
			continue
		}
		list = append(list, candidate{s, depth, exact})
		for _, u := range s.users {
			if !slices.ContainsFunc(users, func(o *uint32) bool { return o != nil && *o == u }) {
				users = append(users, &u)
			}
		}
		for _, c := range s.Commands {
			if !slices.Contains(commands, c) {
				commands = append(commands, c)
			}
		}
	}
	var members []member
	var key strings.Builder
	add := func(u *uint32, command string) {
		m := member{hook.Member{User: u, Command: command}, winner(list, u, command)}
		// A member is left out if the kernel finds the same scope without it.
		if m.scope == next(members, u, command) {
			return
		}
		members = append(members, m)
		id := uint32(0)
		if m.scope != nil {
			id = m.scope.id
		}
		user := "*"
		if u != nil {
			user = strconv.FormatUint(uint64(*u), 10)
		}
		fmt.Fprintf(&key, "%s %q %d\n", user, command, id)
	}
	// This is the opposite of the order in which the kernel looks: any process, by user, by
	// command, by both.
	add(nil, "")
	for _, u := range users[1:] {
		add(u, "")
	}
	for _, c := range commands[1:] {
		add(nil, c)
	}
	for _, u := range users[1:] {
		for _, c := range commands[1:] {
			add(u, c)
		}
	}
	return members, key.String()
}

// winner returns the most specific scope of a user and a command, or nil if there is none.
func winner(list []candidate, u *uint32, command string) *scope {
	var best *candidate
	for i := range list {
		c := &list[i]
		if len(c.Users) > 0 && (u == nil || !slices.Contains(c.users, *u)) || len(c.Commands) > 0 && (command == "" || !slices.Contains(c.Commands, command)) {
			continue
		}
		if best == nil || c.before(best) {
			best = c
		}
	}
	if best == nil {
		return nil
	}
	return best.scope
}

// next returns the scope that the kernel finds by those of members that are less specific
// than u and command together.
func next(members []member, u *uint32, command string) *scope {
	find := func(u *uint32, command string) (*scope, bool) {
		for i := range members {
			m := &members[i]
			if m.Command == command && (m.User == nil) == (u == nil) && (u == nil || *m.User == *u) {
				return m.scope, true
			}
		}
		return nil, false
	}
	if command != "" {
		if u != nil {
			if s, ok := find(nil, command); ok {
				return s
			}
		}
	}
	if u != nil {
		if s, ok := find(u, ""); ok && command != "" {
			return s
		}
	}
	if u != nil || command != "" {
		s, _ := find(nil, "")
		return s
	}
	return nil
}
