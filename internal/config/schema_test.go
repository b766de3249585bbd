package config

import (
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A description of a file fills a struct with settings, groups and named blocks, and
// reports every mistake.
func TestParseFile(t *testing.T) {
	type rule struct {
		name  string
		ports []int
	}
	type file struct {
		on    bool
		limit int
		mode  string
		rules []rule
	}
	describe := func(f *file) func(*Body) {
		return func(b *Body) {
			b.Bool("on", &f.on)
			b.Group("limits", func(b *Body) { b.Int("conns", &f.limit, 1, 100) })
			Text(b, "mode", &f.mode, OneOf("fast", "safe"))
			b.Named("rule", "name", func(name string, at Pos, b *Body) {
				r := rule{name: name}
				Texts(b, "port", &r.ports, strconv.Atoi)
				b.After(func() {
					if r.ports == nil {
						b.Errorf(at, "rule %q has no port", name)
					}
					f.rules = append(f.rules, r)
				})
			})
		}
	}
	var got file
	err := ParseFile([]byte("on = true\nmode = \"safe\"\nlimits {\n  conns = 7\n}\nrule \"b\" {\n port = [\"1\", \"2\"]\n}\nrule \"a\" {\n port = \"3\"\n}\n"), "x.conf", describe(&got))
	want := file{true, 7, "safe", []rule{{"b", []int{1, 2}}, {"a", []int{3}}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(file{}, rule{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	err = ParseFile([]byte("onn = true\nmode = \"slow\"\nlimits {\n  conns = 700\n}\nrule \"b\" {\n}\n"), "x.conf", describe(new(file)))
	wrong, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	var messages []string
	for _, d := range wrong.Diagnostics {
		messages = append(messages, d.Message)
	}
	if diff := cmp.Diff([]string{
		`unknown setting "onn"; did you mean "on"?`,
		`mode must be "fast" or "safe", not "slow"`,
		`conns in limits must be an integer between 1 and 100, not 700`,
		`rule "b" has no port`,
	}, messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}
