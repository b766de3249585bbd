package doc

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/socket-intents/mamma"

// quoted is what stands in back quotes.
var quoted = regexp.MustCompile("`([^`\n]+)`")

// fileFunc is a path, and a function in it.
var fileFunc = regexp.MustCompile(`\b((?:[a-z_]+/)+[a-z_]+\.go)(?::([A-Za-z]+))?`)

func architecture(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every path that the page names is there, and every function in its file.
func TestArchitecturePaths(t *testing.T) {
	text := architecture(t)
	path := regexp.MustCompile(`^[A-Za-z]+(/[A-Za-z0-9_.]+)*$`)
	seen := 0
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		name, _, _ := strings.Cut(m[1], ":")
		if !path.MatchString(name) || slices.Contains([]string{"code", "nothing", "New"}, name) {
			continue
		}
		if name == "plugin/main.go" { // of every policy's folder
			name = "policies/sample/" + name
		}
		seen++
		if _, err := os.Stat("../" + name); err != nil {
			t.Errorf("%s is not there", m[0])
		}
	}
	for _, m := range fileFunc.FindAllStringSubmatch(text, -1) {
		if m[2] == "" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), "../"+m[1], nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
			fn, ok := d.(*ast.FuncDecl)
			return ok && fn.Name.Name == m[2]
		}) {
			t.Errorf("%s has no function %s", m[1], m[2])
		}
	}
	for _, block := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for _, m := range regexp.MustCompile(`\b(?:cmd|internal|client|mam|policies|policy|intent|socks)(?:/[a-z_]+(?:\.go)?)*`).FindAllString(block[1], -1) {
			if _, err := os.Stat("../" + m); err != nil && !strings.Contains(block[1], m+".") {
				t.Errorf("%s is not there", m)
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d paths found", seen)
	}
}

// The drawing has each room once, below all that may import it.
func TestDrawingPointsDown(t *testing.T) {
	_, drawing, _ := strings.Cut(architecture(t), "```\n")
	drawing, _, _ = strings.Cut(drawing, "```")
	name := regexp.MustCompile(`\b(?:(?:cmd|internal)/[a-z]+|policies|client|mam|policy|intent|socks)\b(?:/NAME)?`)
	depth := map[string]int{}
	for i, l := range strings.Split(drawing, "\n") {
		for _, m := range name.FindAllString(l, -1) {
			m = strings.TrimSuffix(m, "/NAME")
			if _, twice := depth[m]; twice {
				t.Errorf("%s is there twice", m)
			}
			depth[m] = i
		}
	}
	arrows := 0
	for _, r := range rooms(t) {
		from, drawn := depth[r.name]
		for _, m := range quoted.FindAllStringSubmatch(r.may, -1) {
			to, ok := depth[m[1]]
			if !drawn || !ok || m[1] == r.name {
				continue
			}
			arrows++
			if to <= from {
				t.Errorf("%s may import %s, which is not below it", r.name, m[1])
			}
		}
		if !drawn && within(r.name, "internal") && r.name != "internal/testing" {
			t.Errorf("%s is not in the drawing", r.name)
		}
	}
	if arrows < 40 {
		t.Errorf("only %d arrows looked at", arrows)
	}
}

// room is a row of the table of rooms.
type room struct{ name, may string }

// rooms reads the table, from which the test takes the rules.
func rooms(t *testing.T) []room {
	t.Helper()
	_, rest, _ := strings.Cut(architecture(t), "## Who may import whom")
	var list []room
	for l := range strings.Lines(rest) {
		cells := strings.Split(l, "|")
		if len(cells) != 5 {
			continue
		}
		if leaf := strings.HasPrefix(cells[2], " leaf:"); leaf != (strings.TrimSpace(cells[3]) == "nothing") {
			t.Errorf("%s is called a leaf: %v; it may import%s", cells[1], leaf, cells[3])
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			list = append(list, room{m[1], cells[3]})
		}
	}
	if len(list) < 15 {
		t.Fatalf("only %d rooms found", len(list))
	}
	return list
}

// within tells whether a package is a folder, or below it.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// Packages import what the table lets them import; what is for tests is imported
// by tests only.
func TestImports(t *testing.T) {
	list := rooms(t)
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkg := strings.TrimPrefix(p.ImportPath, module+"/")
		var in room
		for _, r := range list {
			if within(pkg, r.name) && len(r.name) > len(in.name) {
				in = r
			}
		}
		if len(p.Imports) == 0 && in.name == "" {
			continue // holds tests only
		}
		if in.name == "" {
			t.Errorf("%s is in no room: say in doc/architecture.md what it is and what it may import", pkg)
			continue
		}
		for _, path := range p.Imports {
			to, ours := strings.CutPrefix(path, module+"/")
			if !ours || within(to, in.name) {
				continue
			}
			seen++
			if !slices.ContainsFunc(quoted.FindAllStringSubmatch(in.may, -1), func(m []string) bool { return within(to, m[1]) }) {
				t.Errorf("%s imports %s: doc/architecture.md lets %s import %s", pkg, to, in.name, strings.TrimSpace(in.may))
			}
			if within(to, "cmd") || within(to, "tests") && !within(pkg, "tests") || within(to, "examples") {
				t.Errorf("%s imports %s, a program", pkg, to)
			}
			if within(to, "internal/testing") && !within(pkg, "tests") && !within(pkg, "internal/testing") && !within(pkg, "client/clienttest") {
				t.Errorf("%s imports %s, which is for tests", pkg, to)
			}
			if (within(to, "policy/policytest") || within(to, "policies/internal/situation")) && pkg != "policies/internal/situation" {
				t.Errorf("%s imports %s, which is for tests", pkg, to)
			}
		}
	}
	if seen < 150 {
		t.Errorf("only %d imports looked at", seen)
	}
}

// The table is a hierarchy: no two rooms may import each other, directly or by
// way of others, and each internal package is in the page.
func TestRoomsAreLayers(t *testing.T) {
	list := rooms(t)
	may := map[string][]string{}
	for _, r := range list {
		for _, m := range quoted.FindAllStringSubmatch(r.may, -1) {
			may[r.name] = append(may[r.name], m[1])
		}
	}
	var visit func(name string, from []string)
	visit = func(name string, from []string) {
		if slices.Contains(from, name) {
			t.Errorf("the rules make a circle: %v", append(from, name))
			return
		}
		for _, to := range may[name] {
			visit(to, append(slices.Clone(from), name))
		}
	}
	for _, r := range list {
		visit(r.name, nil)
	}
	text := architecture(t)
	entries := map[string][]string{}
	for _, wing := range []string{"internal", "internal/network", "internal/operator", "internal/process"} {
		files, err := os.ReadDir("../" + wing)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.IsDir() {
				entries[wing] = append(entries[wing], wing+"/"+f.Name())
			}
		}
		for _, name := range entries[wing] {
			if name != "internal/tools" && !strings.Contains(text, "`"+name+"`") {
				t.Errorf("doc/architecture.md does not say what %s is", name)
			}
		}
	}
}

// onlyPlace are words of reading routes, and where they may stand: the kernel's answers and
// tables are interpreted in one place, so that two never conclude different things.
var (
	readsRoutes = regexp.MustCompile(`RTM_GETROUTE|RouteList|RouteGet|RouteSubscribe|/net/route\b|/net/ipv6_route|\bRTA_(GATEWAY|OIF|MULTIPATH|VIA)\b`)
	onlyPlace   = map[string]string{
		"internal/network/oracle":    "the place",
		"internal/operator/hostfile": "writes routes down as text, and concludes nothing",
	}
)

// One place reads routes.
func TestOnePlaceReadsRoutes(t *testing.T) {
	found := map[string]bool{}
	for _, file := range program(t) {
		if within(file, "internal/testing") || within(file, "tests") {
			continue
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if word := readsRoutes.Find(b); word != nil {
			dir := filepath.Dir(file)
			found[dir] = true
			if onlyPlace[dir] == "" {
				t.Errorf("%s has %s: routes are read and interpreted by internal/network/oracle", file, word)
			}
		}
	}
	for dir := range onlyPlace {
		if !found[dir] {
			t.Errorf("%s reads no routes", dir)
		}
	}
}

// cuts are the files that may cut what they read without an error, and why that is right
// there. Everywhere else, a part must not be taken for the whole.
var cuts = map[string]string{
	"cmd/mammactl/get.go":     "the caller knows where the part of the file ends",
	"internal/config/read.go": "its callers take what is as long as the limit for too long",
}

// Input that is too long is an error, and is not cut silently.
func TestNothingIsCutSilently(t *testing.T) {
	cutter := regexp.MustCompile(`\bio\.Limit(Reader\(|edReader\{)`)
	found := map[string]bool{}
	for _, file := range program(t) {
		if within(file, "internal/testing") || within(file, "tests") || within(file, "examples") {
			continue
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if cutter.Match(b) {
			found[file] = true
			if cuts[file] == "" {
				t.Errorf("%s cuts what it reads: internal/bounded makes an error of that", file)
			}
		}
	}
	for file := range cuts {
		if !found[file] {
			t.Errorf("%s cuts nothing", file)
		}
	}
}

// hooks finds what lets one package change what another one does behind its back: an
// init function, a variable of a package that holds a function put there later, and
// an assignment to a variable of another package of ours.
func hooks(f *ast.File) (found []string) {
	ours := map[string]bool{}
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		if !within(path, module) {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		ours[name] = true
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				found = append(found, "init")
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok {
					continue
				}
				if _, ok := v.Type.(*ast.FuncType); ok && d.Tok == token.VAR && len(v.Values) == 0 {
					found = append(found, v.Names[0].Name)
				}
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for _, left := range a.Lhs {
			s, ok := left.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			// A variable of that name in a function is resolved to its declaration.
			if x, ok := s.X.(*ast.Ident); ok && ours[x.Name] && x.Obj == nil { //nolint:staticcheck // enough here, and needs no types
				found = append(found, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return found
}

// Packages have no hooks: what one needs of another is handed to it.
func TestNoHooks(t *testing.T) {
	for _, tt := range []struct {
		source string
		want   []string
	}{
		{"package p\nimport \"" + module + "/client/internal/raw\"\nfunc init() { raw.Exchange = nil }", []string{"init", "raw.Exchange"}},
		{"package p\nvar Exchange func()", []string{"Exchange"}},
		{"package p\nimport \"" + module + "/intent\"\nvar now = func() int { return 1 }\nfunc f(intent *struct{ n int }) { intent.n = now() }", nil},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", tt.source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := hooks(f); !slices.Equal(got, tt.want) {
			t.Errorf("%q has the hooks %q, want %q", tt.source, got, tt.want)
		}
	}
	seen := 0
	for _, file := range program(t) {
		if strings.Contains(file, "testdata/") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, name := range hooks(f) {
			t.Errorf("%s: %s is a hook; hand over what is needed", file, name)
		}
	}
	if seen < 300 {
		t.Errorf("only %d files looked at", seen)
	}
}
