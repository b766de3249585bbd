package doc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// longest is the number of lines that a function may have: what one sees without
// scrolling back. A function that needs more does more than one thing.
const longest = 80

func TestFunctionsFitOnAPage(t *testing.T) {
	seen := 0
	for _, name := range program(t) {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join("..", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			seen++
			if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; n > longest {
				t.Errorf("%s: %s has %d lines, more than %d", name, fn.Name.Name, n, longest)
			}
		}
	}
	if seen < 1000 {
		t.Errorf("only %d functions were looked at", seen)
	}
}
