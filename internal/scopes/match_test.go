package scopes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
)

const alice, bob, daemon = 1000, 1001, 990

// groupAt makes a control group from a path. A user before a colon has given the name that
// follows.
func groupAt(path string) *place {
	p := &place{}
	by := giver{}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if who, rest, ok := strings.Cut(name, ":"); ok {
			name = rest
			by = map[string]giver{"alice": {uid: alice}, "bob": {uid: bob}, "daemon": {uid: daemon}, "root": {}, "anybody": {open: true}}[who]
		}
		if name != "" {
			p.names, p.givers = append(p.names, name), append(p.givers, by)
		}
	}
	return p
}

func compiled(list ...config.Scope) []*scope {
	var scopes []*scope
	for i := range list {
		if list[i].Name == "" {
			list[i].Name = fmt.Sprint(i)
		}
		s, _ := compile(&list[i], uint32(i+1))
		scopes = append(scopes, s)
	}
	return scopes
}

// A name counts only if a user whom the scope trusts has given it.
func TestWhoseWordCounts(t *testing.T) {
	unit := config.Scope{Units: []string{"backup.service"}}
	slice := config.Scope{Slices: []string{"user*.slice"}}
	path := config.Scope{Groups: []string{"/system.slice/backup.*"}}
	root := config.Scope{Groups: []string{"/"}}
	forAlice := config.Scope{Units: []string{"backup.service"}, Users: []string{"1000"}}
	for _, tt := range []struct {
		scope config.Scope
		path  string
		want  bool
	}{
		{unit, "/system.slice/backup.service", true},
		{unit, "/system.slice/backup.service/alice:below", true}, // it has its own groups
		{unit, "/system.slice/other.service", false},
		{unit, "/", false},
		{unit, "/user.slice/user@1000.service/alice:backup.service", false},
		{unit, "/user.slice/user@990.service/daemon:backup.service", true},
		{unit, "/anybody:backup.service", false},
		{unit, "/alice:x/root:backup.service", true},
		{forAlice, "/user.slice/user@1000.service/alice:backup.service", true},
		{forAlice, "/user.slice/user@1001.service/bob:backup.service", false},
		{slice, "/user.slice/user-1000.slice", true},
		{slice, "/user.slice/a/b/c/d", true},
		{slice, "/system.slice", false},
		{path, "/system.slice/backup.service", true},
		{path, "/system.slice/backup.service/x", true},
		{path, "/x/system.slice/backup.service", false},
		{path, "/system.slice", false},
		{path, "/alice:system.slice/root:backup.service", false},
		{root, "/", true},
		{root, "/alice:a/b", true},
		{config.Scope{}, "/alice:a/b", true},
		{config.Scope{Users: []string{"no such user"}}, "/", false},
		{config.Scope{Units: []string{"backup.service"}, Slices: []string{"a.slice"}}, "/a.slice/backup.service", true},
		{config.Scope{Units: []string{"backup.service"}, Slices: []string{"b.slice"}}, "/a.slice/backup.service", false},
	} {
		if _, _, got := compiled(tt.scope)[0].match(groupAt(tt.path), daemon); got != tt.want {
			t.Errorf("%+v matches %s: %v", tt.scope, tt.path, got)
		}
	}
}

// kernel finds a member as the programs in the kernel do.
func kernel(members []member, u uint32, command string) string {
	for _, f := range []hook.Member{{User: &u, Command: command}, {Command: command}, {User: &u}, {}} {
		for i := range members {
			m := &members[i]
			if m.Command == f.Command && (m.User == nil) == (f.User == nil) && (f.User == nil || *m.User == *f.User) {
				if m.scope == nil {
					return ""
				}
				return m.scope.Name
			}
		}
	}
	return ""
}

// For every user and command, the most specific scope counts, and the kernel finds it.
func TestMostSpecific(t *testing.T) {
	list := compiled(
		config.Scope{Name: "rest"},
		config.Scope{Name: "slice", Slices: []string{"system.slice"}},
		config.Scope{Name: "pattern", Units: []string{"*.service"}},
		config.Scope{Name: "unit", Units: []string{"web.service"}},
		config.Scope{Name: "again", Units: []string{"web.service"}},
		config.Scope{Name: "alice", Users: []string{"1000"}},
		config.Scope{Name: "alice at web", Users: []string{"1000"}, Units: []string{"web.service"}},
		config.Scope{Name: "curl", Commands: []string{"curl", "wget"}, Slices: []string{"system.slice"}},
		config.Scope{Name: "bob's curl", Commands: []string{"curl"}, Users: []string{"1001"}},
	)
	web, other, user, system := "/system.slice/web.service", "/system.slice/x.service", "/user.slice", "/system.slice"
	for _, tt := range []struct {
		path, command string
		user          uint32
		want          string
	}{
		{"/", "sh", 0, "rest"}, {user, "sh", 0, "rest"}, {system, "sh", 0, "slice"}, {other, "sh", 0, "pattern"}, {web, "sh", 0, "unit"},
		{user, "sh", alice, "alice"}, {web, "sh", alice, "alice at web"}, {other, "sh", alice, "alice"}, {web, "sh", bob, "unit"},
		{web, "curl", 0, "curl"}, {web, "wget", alice, "curl"}, {user, "curl", alice, "alice"}, {user, "curl", bob, "bob's curl"},
		{web, "curl", bob, "bob's curl"}, {user, "wget", bob, "rest"}, {web, "wget", bob, "curl"},
	} {
		members, _ := classOf(list, groupAt(tt.path), daemon)
		if got := kernel(members, tt.user, tt.command); got != tt.want {
			t.Errorf("%s of user %d at %s is in scope %q, want %q", tt.command, tt.user, tt.path, got, tt.want)
		}
		// However many scopes there are, the kernel gets no more members than it needs.
		if len(members) > 10 {
			t.Errorf("%d members at %s", len(members), tt.path)
		}
	}
	members, key := classOf(list[1:2], groupAt(user), daemon)
	if len(members) != 0 || key != "" {
		t.Errorf("of no scope: %v, %q", members, key)
	}
}

// Whatever scopes there are, the kernel finds the scope that the rule says.
func TestKernelAgrees(t *testing.T) {
	pick := func(n int, of ...string) []string {
		if n%(len(of)+1) == 0 {
			return nil
		}
		return of[:n%(len(of)+1)]
	}
	for seed := range 400 {
		var scopes []config.Scope
		for i := range 4 {
			n := seed*7 + i*31 + seed*i*3
			scopes = append(scopes, config.Scope{Users: pick(n, "1000", "1001"), Commands: pick(n/3, "curl", "ssh"), Units: pick(n/9, "a.service")})
		}
		list := compiled(scopes...)
		for _, path := range []string{"/", "/a.service"} {
			p := groupAt(path)
			members, _ := classOf(list, p, daemon)
			var fit []candidate
			for _, s := range list {
				if depth, exact, ok := s.match(p, daemon); ok {
					fit = append(fit, candidate{s, depth, exact})
				}
			}
			for _, u := range []uint32{0, alice, bob} {
				for _, c := range []string{"sh", "curl", "ssh"} {
					want := ""
					if s := winner(fit, &u, c); s != nil {
						want = s.Name
					}
					if got := kernel(members, u, c); got != want {
						t.Fatalf("%+v at %s: %s of %d is in %q, want %q", scopes, path, c, u, got, want)
					}
				}
			}
		}
	}
}
