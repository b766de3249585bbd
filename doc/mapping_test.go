// Package doc tests that the pages about the whole project name what exists.
package doc

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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
	consts := func(list []*doc.Value) {
		for _, v := range list {
			for _, name := range v.Names {
				add("", name)
			}
		}
	}
	consts(p.Consts)
	for _, typ := range p.Types {
		add("", typ.Name)
		consts(typ.Consts)
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
			if m[1] == "Makefile" || m[1] == "LICENSE" || m[1] == "New" { // files; what a plugin exports
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

// first gives the names that the first cells of MAPPING.md's tables have, as patterns
// for path.Match.
func first(text string) (names []string) {
	code := regexp.MustCompile("`([^`]+)`")
	for l := range strings.Lines(text) {
		cells := strings.Split(l, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(cells[1], -1) {
			for _, name := range strings.Fields(strings.ReplaceAll(m[1], "…", "*")) {
				if name != "*" { // of a grammar, as in { … }
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// original is what the original had by doc/original/names.md: names, by section.
func original(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("original/names.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	section := ""
	for i, part := range strings.Split(string(b), "```") {
		if i%2 == 0 {
			for _, m := range regexp.MustCompile(`(?m)^## (\w+)`).FindAllStringSubmatch(part, -1) {
				section = m[1]
			}
			continue
		}
		for l := range strings.Lines(part) {
			names := strings.Fields(l)
			if section == "Options" && len(names) > 0 {
				names = names[1:] // behind whose they are
			}
			all[section] = append(all[section], names...)
		}
	}
	return all
}

// unmapped returns the names that have no row in a table: neither a row with the name,
// nor one with a pattern that fits.
func unmapped(text string, names []string) (list []string) {
	rows := first(text)
	for _, name := range names {
		if !slices.ContainsFunc(rows, func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			return err == nil && ok
		}) {
			list = append(list, name)
		}
	}
	return list
}

// Each part of the original has a row that names it, or a pattern that it fits. The
// test notices if a row is taken away.
func TestMappingNames(t *testing.T) {
	b, err := os.ReadFile("../MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	sections := original(t)
	var all []string
	for section, least := range map[string]int{"Files": 100, "Functions": 120, "Options": 70} {
		names := sections[section]
		if len(names) < least {
			t.Errorf("%s: only %d names found", section, len(names))
		}
		for _, name := range unmapped(text, names) {
			t.Errorf("%s: %s has no row", section, name)
		}
		all = append(all, names...)
	}
	if never := []string{"clib/client_nonsense.c", "muacc_nonsense", "--nonsense"}; len(unmapped(text, never)) != len(never) {
		t.Error("what never was has a row")
	}
	missed := 0
	for l := range strings.Lines(text) {
		if len(first(l)) > 0 && len(unmapped(strings.Replace(text, l, "", 1), all)) > 0 {
			missed++
		}
	}
	if missed < 80 {
		t.Errorf("only %d rows would be missed if they were not there", missed)
	}
}

// The files that are said to be somewhere here are there.
func TestMappingFolders(t *testing.T) {
	b, err := os.ReadFile("../MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`((?:examples|internal|doc)/[a-z0-9_./]+)`").FindAllStringSubmatch(string(b), -1) {
		if strings.Contains(m[1], "_demo") || regexp.MustCompile(`\.(c|h)$`).MatchString(m[1]) || regexp.MustCompile(`examples/(minimal_examples|muacsocks|curl-multi)`).MatchString(m[1]) {
			continue // the original's
		}
		if _, err := os.Stat("../" + m[1]); err != nil {
			t.Error(err)
		}
	}
}
