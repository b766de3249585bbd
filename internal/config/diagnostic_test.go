package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

var update = flag.Bool("update", false, "write the expected outputs anew")

// TestErrors compares what is said about each file in testdata/errors with the
// file of the same name that ends in .want.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal("no files:", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(src, "policy.conf")
			var all *Error
			if !errors.As(err, &all) {
				t.Fatalf("got %v, want an *Error", err)
			}
			got := all.Error() + "\n"
			want := strings.TrimSuffix(file, ".conf") + ".want"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDiagnosticString(t *testing.T) {
	long := strings.Repeat("x", 100) + "HERE" + strings.Repeat("y", 300)
	for _, tt := range []struct {
		name string
		d    Diagnostic
		want string
	}{
		{"no place", Diagnostic{File: "f", Message: "m"}, "f: m"},
		{"no source", Diagnostic{File: "f", Pos: Pos{3, 1, 4}, Message: "m"}, "f:3,1-4: m"},
		{
			"tab and width of the number", Diagnostic{File: "f", Pos: Pos{120, 2, 5}, Message: "m", Source: "\tabc = 1"},
			"f:120,2-5: m\n    120 | \tabc = 1\n        | \t^^^",
		},
		{
			"end of the line", Diagnostic{File: "f", Pos: Pos{1, 4, 4}, Message: "m", Source: "abc"},
			"f:1,4: m\n    1 | abc\n      |    ^",
		},
		{
			"beyond the line", Diagnostic{File: "f", Pos: Pos{1, 40, 90}, Message: "m", Source: "abc"},
			"f:1,40-90: m\n    1 | abc\n      |    ^",
		},
		{
			"long line", Diagnostic{File: "f", Pos: Pos{1, 101, 105}, Message: "m", Source: long},
			"f:1,101-105: m\n    1 | " + long[60:220] + "\n      | " + strings.Repeat(" ", 40) + "^^^^",
		},
		{
			"escape sequence", Diagnostic{File: "f", Pos: Pos{1, 1, 2}, Message: "m", Source: "a\x1b[0m"},
			"f:1,1: m\n    1 | a\uFFFD[0m\n      | ^",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.d.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTooManyErrors(t *testing.T) {
	_, err := Parse([]byte(strings.Repeat("enabled;\n", 1000)), "f")
	var all *Error
	if !errors.As(err, &all) || len(all.Diagnostics) != maxDiagnostics+1 {
		t.Fatalf("got %v", err)
	}
	if got, want := all.Diagnostics[maxDiagnostics].String(), "f: and 980 more errors"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExplain(t *testing.T) {
	c := mustParse(t, "policy \"sample\" {\n  colour = \"blue\"\n  seed   = \"x\"\n}\n"+
		"interface \"*\" {\n  options {\n    categry = 1\n  }\n}\n")
	var options struct {
		Seed int `mam:"seed"`
	}
	pc := c.PolicyConfig()
	err := fmt.Errorf("policy %q: %w", c.Policy.Name, errors.Join(pc.Decode(&options), pc.CheckPrefixes(&struct{}{})))
	want := `test.conf:2,3-9: unknown setting "colour" in policy "sample"; known: seed
    2 |   colour = "blue"
      |   ^^^^^^
test.conf:3,3-7: seed in policy "sample" must be an integer, not "x"
    3 |   seed   = "x"
      |   ^^^^
test.conf:7,5-12: unknown setting "categry" in interface "*"; known: none
    7 |     categry = 1
      |     ^^^^^^^`
	if diff := cmp.Diff(want, c.Explain(err).Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	other := errors.New("other")
	if got := c.Explain(other); got != other { //nolint:errorlint // the same one
		t.Errorf("an error without a setting became %v", got)
	}
	if got := c.Explain(nil); got != nil {
		t.Errorf("nil became %v", got)
	}
	elsewhere := (policy.Setting{Name: "a", File: "g", Line: 1, Column: 2}).Errorf("no")
	want = "g:1,2: no\ntest.conf: other"
	if diff := cmp.Diff(want, c.Explain(errors.Join(elsewhere, other)).Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExplainWithin(t *testing.T) {
	src := "policy \"score\" {\n  minimize = 2 * prefix.rtx\n}\nauto = true\n"
	c := mustParse(t, src)
	s := c.Policy.Settings[0]
	for _, tt := range []struct {
		column int
		want   string
	}{
		{18, "test.conf:2,18-28: m\n    2 |   minimize = 2 * prefix.rtx\n      |                  ^^^^^^^^^^"},
		{16, "test.conf:2,16: m\n    2 |   minimize = 2 * prefix.rtx\n      |                ^"},
		{99, "test.conf:2,99: m\n    2 |   minimize = 2 * prefix.rtx\n      |                            ^"},
	} {
		s.Column = tt.column
		if diff := cmp.Diff(tt.want, c.Explain(s.Errorf("m")).Error()); diff != "" {
			t.Errorf("column %d (-want +got)\n%s", tt.column, diff)
		}
	}
	original := mustParse(t, `policy "p" { set "two words" 1; };`)
	err := original.Explain(original.Policy.Settings[0].Errorf("m"))
	if got, want := err.(*Error).Diagnostics[0].Pos, (Pos{1, 18, 29}); got != want { //nolint:errorlint // it is one
		t.Errorf("place of a name in quotes: %v, want %v", got, want)
	}
}

func TestErrorAt(t *testing.T) {
	c := mustParse(t, "policy \"threshhold\" {}\nauto = true\n")
	err := c.ErrorAt(c.Policy.Pos, "unknown policy %q%s", c.Policy.Name, Suggest(c.Policy.Name, []string{"sample", "threshold"}))
	want := `test.conf:1,8-20: unknown policy "threshhold"; did you mean "threshold"?
    1 | policy "threshhold" {}
      |        ^^^^^^^^^^^^`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"prefix", "policy", "interface"}
	for _, tt := range []struct{ name, want string }{
		{"prefx", `; did you mean "prefix"?`},
		{"Policy", `; did you mean "policy"?`},
		{"iface", "; known: interface, policy, prefix"},
		{"inter", `; did you mean "interface"?`},
		{"pol", `; known: interface, policy, prefix`},
		{strings.Repeat("x", 100), "; known: interface, policy, prefix"},
	} {
		if got := Suggest(tt.name, known); got != tt.want {
			t.Errorf("Suggest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := Suggest("x", nil); got != "" {
		t.Errorf("Suggest without names = %q", got)
	}
}

func mustParse(t testing.TB, src string) *Config {
	t.Helper()
	c, err := Parse([]byte(src), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	return c
}
