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
)

// scope is a scope of the configuration with what was found out about it.
type scope struct {
	*config.Scope
	id    uint32 // in the kernel's maps, never used again
	users []uint32
	// none tells that it names users, and the host has none of them.
	none  bool
	count Counts
	used  bool // since it was last asked about
}

// lookUp finds a user's number.
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

// compile finds out about a scope. The warnings are for people.
func compile(c *config.Scope, id uint32) (s *scope, warnings []string) {
	s = &scope{Scope: c, id: id}
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

// Warnings are about what of a scope matches nothing on this host, for reasons that do not
// pass.
func Warnings(s *config.Scope) []string {
	_, w := compile(s, 0)
	return w
}

// place is a control group as scopes see it.
type place struct {
	names  []string // from the root, which has none
	givers []giver  // who could have given each its name
}

// giver is who owns the directory that a control group was made in.
type giver struct {
	uid  uint32
	open bool // others can make control groups there too
}

func (p *place) path(n int) string { return "/" + strings.Join(p.names[:n], "/") }

// match tells whether a group, or one above it, is what a scope is about, and how far from
// the root the one lies that decides that.
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

// deepest is how many names lead to the lowest group that a pattern matches, -1 if none
// does. full tells that it was no pattern but the name itself.
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

// before tells whether a is more specific than b: a command counts for more than a user,
// that for more than the depth of the group, and a name for more than a pattern. Equal ones
// are in the order of the file.
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

// class is what all control groups of the same scopes have in common.
type class struct {
	id      uint32
	members []member
	forms   hook.Forms
}

// member is who of a class belongs to which scope.
type member struct {
	hook.Member // without Class
	scope       *scope
}

// classOf finds the members of a group's class, and a text that is the same for groups of
// the same class.
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
		// What the kernel would find without this one need not be said.
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
	// In the opposite order of the kernel's: any, by user, by command, by both.
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

// winner is the most specific scope of a user and a command, nil if there is none.
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

// next is the scope that the kernel finds by the less specific of members.
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
