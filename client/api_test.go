package client_test

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/socket-intents/mamma"

// public are the packages that users import.
var public = []string{"/client", "/client/bsd", "/client/clienttest", "/client/httpintent", "/intent", "/policy"}

// The public API names no type that users cannot name or that somebody else may change:
// no type of an internal package, and none of a third party.
func TestPublicAPI(t *testing.T) {
	if testing.Short() {
		t.Skip("short: this needs the go command to load packages")
	}
	var paths []string
	for _, p := range public {
		paths = append(paths, module+p)
	}
	paths = append(paths, module+"/internal/wire") // this one is not an API; the test must find something in it
	config := &packages.Config{Context: t.Context(), Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps | packages.NeedExportFile}
	loaded, err := packages.Load(config, paths...)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != len(paths) {
		t.Fatalf("%d packages, want %d", len(loaded), len(paths))
	}
	for _, p := range loaded {
		for _, err := range p.Errors {
			t.Error(err)
		}
		w := walk{seen: make(map[types.Type]bool)}
		scope := p.Types.Scope()
		for _, name := range scope.Names() {
			if o := scope.Lookup(name); o.Exported() {
				w.object(p.Name+"."+name, o)
			}
		}
		if p.Name == "wire" {
			if !slices.Contains(w.found, "wire.Message.DecisionID names github.com/google/uuid.UUID") {
				t.Errorf("the walk does not find what is there: %q", w.found)
			}
			continue
		}
		for _, found := range w.found {
			t.Error(found)
		}
		if len(w.seen) == 0 {
			t.Errorf("%s has no API", p.PkgPath)
		}
	}
}

// A walk collects the foreign types that it finds.
type walk struct {
	seen  map[types.Type]bool
	found []string
}

func (w *walk) object(where string, o types.Object) {
	if name, ok := o.(*types.TypeName); ok && !name.IsAlias() {
		w.declaration(where, name.Type().(*types.Named))
		return
	}
	w.use(where, o.Type())
}

// declaration examines what a type of the package exposes.
func (w *walk) declaration(where string, n *types.Named) {
	if w.seen[n] {
		return
	}
	w.seen[n] = true
	w.use(where, n.Underlying())
	set := types.NewMethodSet(types.NewPointer(n)) // includes the methods of embedded fields
	for i := range set.Len() {
		if m := set.At(i).Obj(); m.Exported() {
			w.use(where+"."+m.Name(), m.Type())
		}
	}
}

// use examines a type that is used by its name or literally.
func (w *walk) use(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		w.use(where, types.Unalias(t))
	case *types.Named:
		w.named(where, t)
	case *types.Pointer:
		w.use(where, t.Elem())
	case *types.Slice:
		w.use(where, t.Elem())
	case *types.Array:
		w.use(where, t.Elem())
	case *types.Chan:
		w.use(where, t.Elem())
	case *types.Map:
		w.use(where, t.Key())
		w.use(where, t.Elem())
	case *types.Signature:
		w.use(where, t.Params())
		w.use(where, t.Results())
		for i := range t.TypeParams().Len() {
			w.use(where, t.TypeParams().At(i).Constraint())
		}
	case *types.Tuple:
		for i := range t.Len() {
			w.use(where, t.At(i).Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				w.use(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			w.use(where+"."+m.Name(), m.Type())
		}
		for e := range t.EmbeddedTypes() {
			w.use(where, e)
		}
	case *types.Union:
		for term := range t.Terms() {
			w.use(where, term.Type())
		}
	}
}

func (w *walk) named(where string, n *types.Named) {
	for i := range n.TypeArgs().Len() {
		w.use(where, n.TypeArgs().At(i))
	}
	p := n.Obj().Pkg()
	if p == nil {
		return // error, comparable
	}
	path := p.Path()
	first, _, _ := strings.Cut(path, "/")
	switch {
	case slices.Contains(public, strings.TrimPrefix(path, module)):
		if !n.Obj().Exported() {
			w.declaration(where, n) // users can use what it exposes, even if they cannot name it
		}
	case strings.Contains(first, "."): // paths of the standard library have no dots
		w.found = append(w.found, fmt.Sprintf("%s names %s.%s", where, path, n.Obj().Name()))
	}
}
