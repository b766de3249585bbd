package doc

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named is how a skip says what is missing, or by which setting the test would run.
var named = regexp.MustCompile(`(?i)\bneeds?\b|missing capability: |\bshort\b|MAMMA_LONG`)

// Each skip says what is missing, so that a reader of the list at the end of "make check"
// can install it, or knows that nothing can be done.
func TestSkipsSayWhatIsMissing(t *testing.T) {
	seen := 0
	for _, name := range sources(t) {
		if !strings.HasSuffix(name, "_test.go") || within(name, "internal/testing/required") { // which passes on what others say
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join("..", name), nil, parser.SkipObjectResolution)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Error(err)
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fn, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || fn.Sel.Name != "Skip" && fn.Sel.Name != "Skipf" && fn.Sel.Name != "SkipNow" && fn.Sel.Name != "Lacking" {
				return true
			}
			seen++
			if text := texts(call.Args); !named.MatchString(text) {
				t.Errorf("%v: say what is missing: \"needs ...\"", set.Position(call.Pos()))
			}
			return true
		})
	}
	if seen < 100 {
		t.Errorf("only %d skips were looked at", seen)
	}
}

// texts returns the literal texts in the arguments of a call.
func texts(args []ast.Expr) string {
	var b strings.Builder
	for _, a := range args {
		ast.Inspect(a, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				b.WriteString(l.Value)
			}
			return true
		})
	}
	return b.String()
}
