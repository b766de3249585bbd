package doc

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented are the packages that users build on: all that they export has a
// comment.
var documented = []string{"client", "client/bsd", "client/clienttest", "client/httpintent", "intent", "policy", "policy/policytest", "socks"}

// source is a package with what its comments may name.
type source struct {
	dir   string
	set   *token.FileSet
	files []*ast.File
	names map[string]bool // of declarations, fields and parameters; methods and fields also after their type
}

// add notes the names in a file.
func (s *source) add(f *ast.File) {
	s.files = append(s.files, f)
	note := func(in string, names ...*ast.Ident) {
		for _, n := range names {
			s.names[n.Name] = true
			if in != "" {
				s.names[in+"."+n.Name] = true
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			note(receiver(n), n.Name)
		case *ast.TypeSpec:
			note("", n.Name)
			ast.Inspect(n.Type, func(m ast.Node) bool {
				if field, ok := m.(*ast.Field); ok {
					note(n.Name.Name, field.Names...)
				}
				return true
			})
		case *ast.ValueSpec:
			note("", n.Names...)
		case *ast.Field:
			note("", n.Names...)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if name, ok := left.(*ast.Ident); ok && n.Tok == token.DEFINE {
					note("", name)
				}
			}
		case *ast.ImportSpec:
			if n.Name != nil {
				note("", n.Name)
			}
		case *ast.SelectorExpr: // what belongs to others and is used here
			note("", n.Sel)
			if of, ok := n.X.(*ast.Ident); ok {
				note(of.Name, n.Sel)
			}
		case *ast.CallExpr: // min, len, panic and other names of the language
			if name, ok := n.Fun.(*ast.Ident); ok {
				note("", name)
			}
		}
		return true
	})
}

// receiver is the name of a method's type, "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	t := f.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	switch x := t.(type) {
	case *ast.IndexExpr:
		t = x.X
	case *ast.IndexListExpr:
		t = x.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// readSources parses the packages whose files are named, by folder.
func readSources(t *testing.T, names []string) map[string]*source {
	t.Helper()
	all := map[string]*source{}
	for _, name := range names {
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			continue
		}
		dir := path.Dir(name)
		if all[dir] == nil {
			all[dir] = &source{dir: dir, set: token.NewFileSet(), names: map[string]bool{}}
		}
		f, err := parser.ParseFile(all[dir].set, filepath.Join("..", name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if errors.Is(err, os.ErrNotExist) {
			continue // git lists what has been deleted until it is told
		}
		if err != nil {
			t.Fatal(err)
		}
		all[dir].add(f)
	}
	return all
}

// undocumented are the exported declarations without a comment that begins with
// their name. A group of constants or variables has one comment for all, or one for
// each.
func (s *source) undocumented() (wrong []string) {
	complain := func(n ast.Node, name string) {
		wrong = append(wrong, fmt.Sprintf("%s: %s has no comment that begins with its name", s.set.Position(n.Pos()), name))
	}
	for _, f := range s.files {
		if strings.HasSuffix(s.set.Position(f.Pos()).Filename, "_test.go") {
			continue
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if of := receiver(d); d.Name.IsExported() && (of == "" || ast.IsExported(of)) && !begins(d.Doc, d.Name.Name) {
					complain(d, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() && !begins(spec.Doc, spec.Name.Name) && (len(d.Specs) > 1 || !begins(d.Doc, spec.Name.Name)) {
							complain(spec, spec.Name.Name)
						}
					case *ast.ValueSpec:
						if !slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported) {
							continue
						}
						alone := !d.Lparen.IsValid()
						if alone && !begins(d.Doc, spec.Names[0].Name) || !alone && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
							complain(spec, spec.Names[0].Name)
						}
					}
				}
			}
		}
	}
	return wrong
}

// begins tells whether a comment begins with a name, after an article at most.
func begins(c *ast.CommentGroup, name string) bool {
	if c == nil {
		return false
	}
	text := c.Text()
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name)
	return ok && (rest == "" || !strings.ContainsAny(rest[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))
}

var (
	called   = regexp.MustCompile(`(?:^|[\s("\[])((?:[A-Za-z]\w*\.)?[A-Za-z]\w*)\(\)`)
	linked   = regexp.MustCompile(`\[\*?((?:[a-z]\w*\.)?[A-Z]\w*(?:\.[A-Z]\w*)?)\]`)
	compound = regexp.MustCompile(`^[A-Za-z]+[a-z][A-Z]\w*$`)
	example  = regexp.MustCompile(`(?m)^[\t ].*$`) // code, which is another's
	goFile   = regexp.MustCompile(`(?:^|[\s("])((?:[\w.-]+/)*[\w-]+\.go)\b`)
)

// dangling are the names that comments mention and nothing has.
func (s *source) dangling(all map[string]*source, file func(dir, name string) bool) (wrong []string) {
	known := func(name string) bool {
		if s.names[name] {
			return true
		}
		first, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		ours := false
		for dir, other := range all {
			if path.Base(dir) == first {
				if ours = true; other.names[rest] {
					return true
				}
			}
		}
		return !ours && !s.names[first] // somebody else's package
	}
	for _, f := range s.files {
		for _, c := range f.Comments {
			text := example.ReplaceAllString(c.Text(), "")
			complain := func(format string, args ...any) {
				wrong = append(wrong, fmt.Sprintf("%s: ", s.set.Position(c.Pos()))+fmt.Sprintf(format, args...))
			}
			for _, m := range called.FindAllStringSubmatch(text, -1) {
				if !known(m[1]) {
					complain("%s() is not there", m[1])
				}
			}
			for _, m := range linked.FindAllStringSubmatch(text, -1) {
				if !known(m[1]) {
					complain("[%s] is not there", m[1])
				}
			}
			for _, m := range goFile.FindAllStringSubmatch(text, -1) {
				if !file(s.dir, m[1]) {
					complain("%s is not there", m[1])
				}
			}
		}
		// A declaration that was given another name, and its comment was not.
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Doc == nil {
				continue
			}
			first, _, _ := strings.Cut(fn.Doc.Text(), " ")
			if compound.MatchString(first) && first != fn.Name.Name && !s.names[first] {
				wrong = append(wrong, fmt.Sprintf("%s: the comment of %s begins with %s", s.set.Position(fn.Pos()), fn.Name.Name, first))
			}
		}
	}
	return wrong
}

// Everything that users can name has a comment, and no comment names what is not
// there.
func TestComments(t *testing.T) {
	names := sources(t)
	all := readSources(t, names)
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := func(dir, name string) bool {
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(goroot)), "src", name)); err == nil {
			return true // cites the Go sources
		}
		return slices.Contains(names, path.Join(dir, name)) || slices.ContainsFunc(names, func(n string) bool { return n == name || strings.HasSuffix(n, "/"+name) })
	}
	for _, dir := range documented {
		if all[dir] == nil {
			t.Errorf("%s is not there", dir)
			continue
		}
		for _, w := range all[dir].undocumented() {
			t.Error(w)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		for _, w := range all[dir].dangling(all, file) {
			t.Error(w)
		}
	}
}

// The checks find what they are for.
func TestCommentsFail(t *testing.T) {
	const text = `package sample

// Wrong is the comment of another.
func Right() {}

func Bare() {}

// A Thing is documented.
type Thing struct{}

// Do calls gone() and [Missing], then Right() and [Thing.Do]; see nowhere.go.
func (t *Thing) Do() {}

const Alone = 1

// oldName was renamed.
func newName() {}

// Constants of one kind.
const (
	One = 1
	Two = 2
)
`
	s := &source{dir: ".", set: token.NewFileSet(), names: map[string]bool{}}
	f, err := parser.ParseFile(s.set, "sample.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	s.add(f)
	got := append(s.undocumented(), s.dangling(map[string]*source{".": s}, func(string, string) bool { return false })...)
	want := []string{"Right has no", "Bare has no", "Alone has no", "gone() is not", "[Missing] is not", "nowhere.go is not", "comment of newName begins with oldName"}
	if len(got) != len(want) {
		t.Fatalf("found %q", got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}
