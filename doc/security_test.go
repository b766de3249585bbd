package doc

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each claim of SECURITY.md names tests, and they are there.
func TestClaimsHaveTests(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| claim | tests |\n|---|---|\n")
	if !ok {
		t.Fatal("there is no table of claims")
	}
	claims := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		if len(cells) != 2 {
			t.Fatalf("%q has %d cells", row, len(cells))
		}
		claims++
		for group := range strings.SplitSeq(cells[1], ";") {
			words := strings.Fields(group)
			if len(words) < 2 || !strings.HasPrefix(words[0], "`") {
				t.Errorf("%q: %q is not a package with tests", cells[0], group)
				continue
			}
			for _, name := range words[1:] {
				if !hasTest(t, strings.Trim(words[0], "`"), name) {
					t.Errorf("%q: there is no %s in %s", cells[0], name, words[0])
				}
			}
		}
	}
	if claims < 20 {
		t.Errorf("%d claims only", claims)
	}
}

// hasTest tells whether the package in dir has the test.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(\w+ \*testing\.[TF]\)`)
	for _, f := range files {
		text, err := os.ReadFile(f) //nolint:gosec // of this repository
		if err != nil {
			t.Fatal(err)
		}
		if want.Match(text) {
			return true
		}
	}
	return false
}
