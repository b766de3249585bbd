// Package doc tests that the pages about the whole project name what exists.
package doc

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policies"
)

// The folders that MAPPING.md sends its readers to are there, and all policies
// are in it.
func TestMapping(t *testing.T) {
	b, err := os.ReadFile("../MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for l := range strings.Lines(text) {
		cells := strings.Split(l, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`((?:client|mam|internal|cmd|tests|examples|policies)/[a-z_/]*)`").FindAllStringSubmatch(cells[len(cells)-2], -1) {
			if _, err := os.Stat("../" + m[1]); err != nil {
				t.Errorf("%s names what is not there: %v", strings.TrimSpace(l), err)
			}
		}
	}
	for _, name := range policies.All().Names() {
		short := "`…" + strings.TrimPrefix(name, "earliest_arrival") + "`"
		if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, short) {
			t.Errorf("policy %s is missing", name)
		}
	}
}

// public are the packages whose identifiers MAPPING.md names.
var public = []string{"client", "client/bsd", "intent", "client/httpintent", "policy"}

// exported has the names of a package, methods and fields with their type's and
// without.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob("../" + dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	set := token.NewFileSet()
	for _, path := range paths {
		f, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(path, "_test.go") {
			files = append(files, f)
		}
	}
	p, err := doc.NewFromFiles(set, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	add := func(in, name string) { names[name], names[in+"."+name] = true, true }
	for _, f := range p.Funcs {
		add("", f.Name)
	}
	for _, typ := range p.Types {
		add("", typ.Name)
		for _, f := range typ.Funcs {
			add("", f.Name)
		}
		for _, f := range typ.Methods {
			add(typ.Name, f.Name)
		}
		ast.Inspect(typ.Decl, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				for _, name := range field.Names {
					add(typ.Name, name.Name)
				}
			}
			return true
		})
	}
	return names
}

// Whatever looks like an identifier of ours is one.
func TestMappingIdentifiers(t *testing.T) {
	b, err := os.ReadFile("../MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]map[string]bool{}
	for _, dir := range public {
		packages[filepath.Base(dir)] = exported(t, dir)
	}
	known := func(name string) bool {
		if first, rest, ok := strings.Cut(name, "."); ok && packages[first] != nil {
			return packages[first][rest]
		}
		for _, names := range packages {
			if names[name] {
				return true
			}
		}
		return false
	}
	word := regexp.MustCompile("`((?:(?:bsd|client|intent|policy)\\.)?[A-Z][A-Za-z]+(?:\\.[A-Z][A-Za-z]+)?)(?:\\([^`]*)?`")
	seen := 0
	for l := range strings.Lines(string(b)) {
		cells := strings.Split(l, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range word.FindAllStringSubmatch(cells[len(cells)-2], -1) {
			if m[1] == "Makefile" || m[1] == "New" { // a file; what a plugin exports
				continue
			}
			if seen++; !known(m[1]) {
				t.Errorf("%s names %s, which is not there", strings.TrimSpace(l), m[1])
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d identifiers found", seen)
	}
}
