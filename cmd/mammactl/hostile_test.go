package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// rename puts name in the place of each string of v, except for times and for strings
// that tell how to read the rest.
func rename(t *testing.T, v any, name string) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(string, any) any
	walk = func(key string, v any) any {
		switch v := v.(type) {
		case string:
			if _, err := time.Parse(time.RFC3339, v); err == nil || key == "unit" || key == "type" || key == "kind" {
				return v
			}
			return name
		case []any:
			for i := range v {
				v[i] = walk(key, v[i])
			}
		case map[string]any:
			for k, x := range v {
				v[k] = walk(k, x)
			}
		}
		return v
	}
	return walk("", tree)
}

// Whatever names the daemon reports, no command prints characters that a terminal would
// act upon. With --json the names are unchanged.
func TestNoEscapeSequences(t *testing.T) {
	const name = "a\x1b[2J\x1b]0;t\a\rb\u009b1m\u202ec\x7f"
	f := newFake()
	for path, answer := range f.answers {
		f.answers[path] = rename(t, answer, name)
	}
	f.answers["GET /v1/mptcp"] = control.RemoteError{Status: 500, Failure: control.Failure{Error: name, Code: name}}
	path := serve(t, f)
	for _, args := range [][]string{
		{"status"}, {"prefixes"}, {"interfaces"}, {"policy"}, {"decisions"}, {"mptcp"}, {"scopes"}, {"set", name}, {"reload"},
		{"explain", "www.example.net:443"}, {"version"}, {name}, {"--" + name}, {"explain", name}, {"profile", name}, {"replay", name}, {"doctor", "--config", name},
		{"run", "--intents", name, "true"}, {"completion", name}, {"help", name}, {"--control", name, "status"},
	} {
		for _, args := range [][]string{args, append([]string{"--json"}, args...)} {
			code, stdout, stderr := mammactl(t.Context(), path, args...)
			if code == exitOK && stdout+stderr == "" {
				t.Errorf("%q: nothing is printed", args)
			}
			for _, text := range []string{stdout, stderr} {
				if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%q prints %q", args, text[i:min(len(text), i+40)])
				}
			}
			if args[0] == "--json" && slices.Contains([]string{"status", "prefixes", "policy", "decisions"}, args[1]) {
				var v any
				first, _, _ := strings.Cut(stdout, "\n{\"type\"") // decisions come one a line
				if err := json.Unmarshal([]byte(first), &v); err != nil || code != exitOK || !holds(v, name) {
					t.Errorf("%q: %d, %v: the name is not in %.200q", args, code, err, stdout)
				}
			}
		}
	}
}

// holds tells whether the JSON value v contains the string s.
func holds(v any, s string) bool {
	switch v := v.(type) {
	case string:
		return v == s
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return holds(x, s) })
	case map[string]any:
		for _, x := range v {
			if holds(x, s) {
				return true
			}
		}
	}
	return false
}
