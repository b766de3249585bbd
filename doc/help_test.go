package doc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// What programs print as their help fits into a terminal of the usual width. Those
// whose help is filled again, and flags, are the programs' own tests to look at.
func TestUsageWidth(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "build" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.Name() != "main.go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "usage") {
				return true
			}
			text, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || text.Kind != token.STRING {
				return true
			}
			seen++
			for l := range strings.Lines(strings.Trim(text.Value, "`\"")) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > 80 {
					t.Errorf("%s: %d columns: %s", path, n, l)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 7 {
		t.Errorf("only %d usages were looked at", seen)
	}
}
