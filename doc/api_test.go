package doc

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	godoc "go/doc"
	"go/format"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the listings of the public API anew")

// publicPackages are the packages whose API others build on.
var publicPackages = []string{"intent", "policy", "policy/policytest", "client", "client/bsd", "client/httpintent", "client/clienttest", "socks"}

// TestAPI compares the declarations of the public packages with the listings in
// doc/api, so that a change of the API is seen by whoever reads the commit.
func TestAPI(t *testing.T) {
	for _, path := range publicPackages {
		t.Run(path, func(t *testing.T) {
			got := listing(t, path)
			file := filepath.Join("api", strings.ReplaceAll(path, "/", "-")+".txt")
			if *update {
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("the API of %s is another one than in doc/%s; if that is meant: make api (-listed +declared)\n%s", path, file, diff)
			}
		})
	}
}

// listing is the exported declarations of a package without comments, as gofmt
// writes them. Of files for one operating system, those for Linux count.
func listing(t *testing.T, path string) []byte {
	t.Helper()
	system := build.Default
	system.GOOS, system.GOARCH, system.CgoEnabled = "linux", "amd64", true
	dir := filepath.Join("..", filepath.FromSlash(path))
	pkg, err := system.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range append(pkg.GoFiles, pkg.CgoFiles...) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	d, err := godoc.NewFromFiles(fset, files, "github.com/socket-intents/mamma/"+path)
	if err != nil {
		t.Fatal(err)
	}
	l := lister{fset: fset}
	fmt.Fprintf(&l.out, "package %s\n", d.Name)
	l.values(d.Consts)
	l.values(d.Vars)
	l.functions(d.Funcs)
	for _, typ := range d.Types {
		l.add(typ.Decl)
		l.values(typ.Consts)
		l.values(typ.Vars)
		l.functions(typ.Funcs)
		l.functions(typ.Methods)
	}
	if l.err != nil {
		t.Fatal(l.err)
	}
	out, err := format.Source(l.out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type lister struct {
	fset *token.FileSet
	out  bytes.Buffer
	err  error
}

func (l *lister) values(list []*godoc.Value) {
	for _, v := range list {
		l.add(v.Decl)
	}
}

func (l *lister) functions(list []*godoc.Func) {
	for _, f := range list {
		l.add(f.Decl)
	}
}

// add writes a declaration. Empty lines go, since they depend on the comments.
func (l *lister) add(decl ast.Decl) {
	bare(decl)
	var b bytes.Buffer
	if err := printer.Fprint(&b, l.fset, decl); err != nil && l.err == nil {
		l.err = err
	}
	l.out.WriteByte('\n')
	for line := range strings.Lines(b.String() + "\n") {
		if strings.TrimSpace(line) != "" {
			l.out.WriteString(line)
		}
	}
}

// bare takes comments and bodies off a declaration.
func bare(decl ast.Decl) {
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			n.Doc, n.Body = nil, nil
		case *ast.GenDecl:
			n.Doc = nil
		case *ast.ValueSpec:
			n.Doc, n.Comment = nil, nil
		case *ast.TypeSpec:
			n.Doc, n.Comment = nil, nil
		case *ast.Field:
			n.Doc, n.Comment = nil, nil
		}
		return true
	})
}
