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

// originals are the files of the original that its description names
// (doc/original), and those that any project of its kind has.
const originals = `
	CMakeLists.txt mam/CMakeLists.txt cmake/Findlibnl.cmake config.h.in README Doxyfile
	clib/client_addrinfo.c clib/client_addrinfo.h clib/client_socketapi.c clib/client_socketapi.h clib/client_socketconnect.c clib/client_socketconnect.h
	clib/client_socketconnect_async.c clib/client_socketconnect_async.h clib/client_socketconnect_emulated.c clib/client_socketconnect_emulated.h
	clib/client_util.c clib/dlog.h clib/muacc.h clib/muacc_client.h
	lib/intents.h lib/muacc.h lib/muacc_ctx.c lib/muacc_tlv.c lib/muacc_util.c lib/socketset.c libintents/intents.h libintents/libintents.c libintents/libintents.h
	mam/mam_iface.c mam/mam_master.c mam/mam_pmeasure.c mam/mam_pmeasure.h mam/mam_util.c mam/mptcp_netlink_types.h
	policies/policy_util.c policies/policy_util.h policies/policy_earliest_arrival_base.c policies/policy_earliest_arrival_util.c policies/policy_earliest_arrival.h
	policies/policy_earliest_arrival.conf policies/policy_category.conf policies/policy_rr_naive.conf policies/policy_rr_pipelining.conf policies/policy_sample.conf
	policies/threshold_policy.c policies/threshold_policy.conf
	examples/muacsocks/muacsocksd.c tests/addrinfo.c tests/ifaceinfo.c tests/policy_sample.conf tests/policy_test.sh tests/test_policy_generic.c
	tests/test_socketconnect.c tests/test_util.c`

// Every file of the original has a row, which names it or a pattern that it fits.
func TestMappingFiles(t *testing.T) {
	b, err := os.ReadFile("../MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for l := range strings.Lines(string(b)) {
		if cells := strings.Split(l, "|"); len(cells) >= 4 {
			named = append(named, regexp.MustCompile("[A-Za-z0-9_./*]+").FindAllString(cells[1], -1)...)
		}
	}
	for _, file := range strings.Fields(originals) {
		found := false
		for _, pattern := range named {
			ok, err := filepath.Match(pattern, file)
			found = found || err == nil && ok
		}
		if !found {
			t.Errorf("%s has no row", file)
		}
	}
}
