package scopes

import (
	"fmt"
	"slices"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
)

// Scopes that can never match are named, and no others.
func TestDoubts(t *testing.T) {
	type list = []string
	for _, tt := range []struct {
		name   string
		scopes []config.Scope
		want   list // the scopes that are hidden, by their index
	}{
		{"the same", []config.Scope{{Users: list{"1000", "1001"}}, {Users: list{"1001", "1000", "1001"}}}, list{"1"}},
		{"some of the users", []config.Scope{{Users: list{"1000", "1001"}}, {Users: list{"1001"}}}, list{"1"}},
		{"more users", []config.Scope{{Users: list{"1001"}}, {Users: list{"1000", "1001"}}}, nil},
		{"users of two scopes", []config.Scope{{Users: list{"1000"}}, {Users: list{"1001"}}, {Users: list{"1001", "1000"}}}, list{"2"}},
		{"a name and a number", []config.Scope{{Users: list{"root"}}, {Users: list{"0"}}}, list{"1"}},
		{"a user in a unit", []config.Scope{{Users: list{"1000"}}, {Users: list{"1000"}, Units: list{"a.service"}}}, nil},
		{"whose names count", []config.Scope{{Users: list{"1000"}, Units: list{"a.service"}}, {Users: list{"1001"}, Units: list{"a.service"}}, {Users: list{"1000", "1001"}, Units: list{"a.service"}}}, nil},
		{"some of the commands", []config.Scope{{Commands: list{"curl", "ssh"}}, {Commands: list{"ssh"}}}, list{"1"}},
		{"a command after all", []config.Scope{{}, {Commands: list{"ssh"}}}, nil},
		{"some of the units", []config.Scope{{Units: list{"a.service", "b.service"}}, {Units: list{"b.service"}}}, list{"1"}},
		{"a name after a pattern", []config.Scope{{Units: list{"*.service"}}, {Units: list{"b.service"}}}, nil},
		{"a pattern twice", []config.Scope{{Units: list{"*.service", "a.scope"}}, {Units: list{"*.service"}}}, list{"1"}},
		{"a wider pattern", []config.Scope{{Units: list{"app-*.scope"}}, {Units: list{"app-gnome-*.scope"}}, {Units: list{"app-?.scope"}}, {Units: list{"app*.scope"}}, {Units: list{"app-a.scope"}}}, list{"1", "2"}},
		{"a pattern of paths", []config.Scope{{Groups: list{"/a/*"}}, {Groups: list{"/a/b*"}}, {Groups: list{"/a/*/c*"}}, {Groups: list{"/*"}}}, list{"1"}},
		{"a slice and a unit", []config.Scope{{Units: list{"a.service"}}, {Units: list{"a.service"}, Slices: list{"user.slice"}}}, nil},
		{"both twice", []config.Scope{{Units: list{"a.service"}, Slices: list{"user.slice"}}, {Slices: list{"user.slice"}, Units: list{"a.service"}}}, list{"1"}},
		{"everywhere", []config.Scope{{Groups: list{"/"}}, {}, {Groups: list{"/", "/a"}}}, list{"1"}},
		{"rest last", []config.Scope{{Slices: list{"user.slice"}}, {}, {}}, list{"2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.scopes {
				tt.scopes[i].Name, tt.scopes[i].Pos.Line = fmt.Sprint(i), 1+i
			}
			got := Doubts(tt.scopes, func(at config.Pos, _ string) string { return fmt.Sprint(at.Line - 1) })
			if !slices.Equal(got, tt.want) {
				t.Errorf("never match: %v, want %v", got, tt.want)
			}
		})
	}
	text := Doubts([]config.Scope{
		{Name: "a", Users: list{"1000"}, Pos: config.Pos{Line: 3}}, {Name: "b", Users: list{"1001"}, Pos: config.Pos{Line: 6}}, {Name: "c", Users: list{"1000", "1001"}},
	}, func(_ config.Pos, w string) string { return w })
	if want := `scope "c" never matches: the scopes "a" in line 3, "b" in line 6 match the same together, and come first`; !slices.Equal(text, list{want}) {
		t.Errorf("%q, want %q", text, want)
	}
	text = Doubts([]config.Scope{{Name: "a", Pos: config.Pos{Line: 3}}, {Name: "b"}}, func(_ config.Pos, w string) string { return w })
	if want := `scope "b" never matches: scope "a" in line 3 matches the same, and comes first`; !slices.Equal(text, list{want}) {
		t.Errorf("%q, want %q", text, want)
	}
}

// What is said never to match never does.
func TestDoubtsAreRight(t *testing.T) {
	pick := func(n int, of ...string) (some []string) {
		for i, x := range of {
			if n>>i&1 != 0 {
				some = append(some, x)
			}
		}
		return some
	}
	said := 0
	for seed := range 20_000 {
		scopes := make([]config.Scope, 3)
		for i := range scopes {
			n := (seed + 1) * (7919*i + 104729) >> 3
			scopes[i] = config.Scope{
				Name: fmt.Sprint(i), Pos: config.Pos{Line: i}, Users: pick(n&3, "1000", "1001"), Commands: pick(n>>2&3&(n>>4), "curl", "ssh"),
				Units: pick(n>>6&15, "a.service", "*.service", "b.service", "b*.service"), Slices: pick(n>>10&1, "c.slice"), Groups: pick(n>>11&n>>14&7, "/", "/c.slice/a*", "/c.slice/*"),
			}
		}
		list := compiled(scopes...)
		for _, hidden := range Doubts(scopes, func(at config.Pos, _ string) string { return fmt.Sprint(at.Line) }) {
			said++
			for _, path := range []string{"/", "/a.service", "/c.slice/a.service", "/b.service/c.slice", "/c.slice/alice:b.service", "/bob:a.service", "/b.service/a.service/x"} {
				members, _ := classOf(list, groupAt(path), daemon)
				for _, u := range []uint32{0, alice, bob} {
					for _, c := range []string{"sh", "curl", "ssh"} {
						if kernel(members, u, c) == hidden {
							t.Fatalf("%s of %d at %s is in scope %s of %+v", c, u, path, hidden, scopes)
						}
					}
				}
			}
		}
	}
	if said < 100 {
		t.Errorf("only %d scopes are said never to match", said)
	}
}
