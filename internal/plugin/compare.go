package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// module is the main module, whose path is left out of messages.
const module = "github.com/socket-intents/mamma"

// settings are the build settings that must be equal. The fingerprints do not show a
// difference in GOAMD64, tags or -msan, and the program would crash later. A difference
// in one of the others shows in every fingerprint, but the name of the setting explains
// more. Linker flags and the state of version control are left out, because they do not
// change a package.
var settings = []string{
	"GOOS", "GOARCH", "-compiler", "CGO_ENABLED", "GOEXPERIMENT", "GOFIPS140",
	"GO386", "GOAMD64", "GOARM", "GOARM64", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64",
	"-trimpath", "-tags", "-race", "-msan", "-asan",
}

// moved has, for import paths of earlier versions of the main module, the import paths
// that have taken their place.
var moved = []struct{ from, to string }{
	{"client/intent", "intent"},
	{"mam/policy", "policy"},
}

// movedPackages says which packages the plugin imports by a path that they no longer
// have, "" if none. The source of such a plugin has to change: building it again is not
// enough.
func movedPackages(self, plugin *build) string {
	var parts []string
	for _, m := range moved {
		from := module + "/" + m.from
		_, imported := plugin.hashes[from]
		if _, there := self.hashes[from]; imported && !there {
			parts = append(parts, fmt.Sprintf("%s, which is %s/%s now", from, module, m.to))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "imports " + strings.Join(parts, ", and ")
}

// compare says why the program self cannot open a plugin, "" if it can. It looks at
// moved packages, toolchain, build settings, shared modules and shared packages, in this
// order, because a difference in one of them causes differences in all that follow.
func compare(self, plugin *build) string {
	if m := movedPackages(self, plugin); m != "" {
		return m
	}
	if want, got := self.info.GoVersion, plugin.info.GoVersion; want != got {
		return fmt.Sprintf("built by %s, mamma by %s", got, want)
	}
	var differ []string
	for _, key := range settings {
		if want, got := self.setting(key), plugin.setting(key); want != got {
			differ = append(differ, fmt.Sprintf("%s is %s, mamma has %s", key, orUnset(got), orUnset(want)))
		}
	}
	if len(differ) > 0 {
		return strings.Join(differ, "; ")
	}
	return compareShared(self, plugin)
}

// compareShared compares the packages that both contain, and the modules of these
// packages. The runtime does not compare modules. Fingerprints, however, leave out
// unexported variables, so two versions of a module could lay them out differently.
func compareShared(have, plugin *build) string {
	var packages []string
	modules := map[string]string{}
	for name, h := range plugin.hashes {
		other, shared := have.hashes[name]
		if !shared {
			continue
		}
		if h != other {
			packages = append(packages, name)
		}
		if d := compareModule(moduleOf(have, name), moduleOf(plugin, name)); d != "" {
			modules[d] = d
		}
	}
	if len(modules) > 0 {
		return strings.Join(slices.Sorted(maps.Keys(modules)), "; ")
	}
	return packagesDiffer(packages)
}

// moduleOf gives the module that a package comes from, nil for the standard
// library and unknown ones.
func moduleOf(b *build, pkg string) *debug.Module {
	var found *debug.Module
	for _, m := range append([]*debug.Module{&b.info.Main}, b.info.Deps...) {
		inside := pkg == m.Path || strings.HasPrefix(pkg, m.Path+"/")
		if m.Path != "" && inside && (found == nil || len(m.Path) > len(found.Path)) {
			found = m
		}
	}
	return found
}

// compareModule says how two versions of one module differ. The main module, and any
// other that is built from a directory, has no known sum, and its version is that of a
// working copy. Such modules are told apart by the fingerprints alone.
func compareModule(want, got *debug.Module) string {
	if want == nil || got == nil || want.Path != got.Path {
		return ""
	}
	path := want.Path
	for want.Replace != nil {
		want = want.Replace
	}
	for got.Replace != nil {
		got = got.Replace
	}
	if want.Sum == "" || got.Sum == "" {
		return ""
	}
	if want.Path != got.Path {
		return fmt.Sprintf("module %s is %s %s, mamma has %s %s", path, got.Path, got.Version, want.Path, want.Version)
	}
	if want.Version != got.Version {
		return fmt.Sprintf("module %s is %s, mamma has %s", path, got.Version, want.Version)
	}
	if want.Sum != got.Sum {
		return fmt.Sprintf("module %s %s has another checksum", path, got.Version)
	}
	return ""
}

// packagesDiffer names packages that differ. Those of the main module come first,
// because the others may differ only as a consequence.
func packagesDiffer(packages []string) string {
	ours := func(p string) int {
		if strings.HasPrefix(p, module+"/") {
			return 0
		}
		return 1
	}
	slices.SortFunc(packages, func(a, b string) int {
		return cmp.Or(cmp.Compare(ours(a), ours(b)), cmp.Compare(a, b))
	})
	for i, p := range packages {
		packages[i] = strings.TrimPrefix(p, module+"/")
	}
	const show = 3 // enough to see a pattern
	switch n := len(packages); {
	case n == 0:
		return ""
	case n == 1:
		return "package " + packages[0] + " differs"
	case n <= show:
		return "packages " + strings.Join(packages, ", ") + " differ"
	default:
		return fmt.Sprintf("packages %s and %d more differ", strings.Join(packages[:show], ", "), n-show)
	}
}

func orUnset(value string) string {
	if value == "" {
		return "unset"
	}
	return value
}

// rebuildHint says how to build a plugin that self can open.
func rebuildHint(self, plugin *build) string {
	path := plugin.info.Path
	if strings.HasPrefix(path, module+"/policies/") {
		return "Rebuild it, in mamma's source tree, with:  make policies"
	}
	where := "in a workspace with the source tree of this mamma"
	if v := self.info.Main.Version; v != "" && v != "(devel)" {
		where += " (" + v + ")"
	}
	return fmt.Sprintf("Rebuild it, %s, with:  %s", where, buildCommand(self, plugin))
}

// buildCommand is the command that builds the plugin with the settings of self.
func buildCommand(self, plugin *build) string {
	var words []string
	if self.info.GoVersion != plugin.info.GoVersion {
		toolchain, _, _ := strings.Cut(self.info.GoVersion, " ") // experiments follow
		words = append(words, "GOTOOLCHAIN="+toolchain)
	}
	flags := []string{"go", "build"}
	for _, key := range settings {
		want, got := self.setting(key), plugin.setting(key)
		isFlag := strings.HasPrefix(key, "-")
		switch {
		case key == "-compiler":
		case isFlag && want == "true":
			flags = append(flags, key)
		case isFlag && want != "":
			flags = append(flags, key+"="+want)
		case !isFlag && want != got:
			words = append(words, key+"="+want)
		}
	}
	flags = append(flags, "-buildmode=plugin")
	if path := plugin.info.Path; path != "" && path != "command-line-arguments" {
		flags = append(flags, "-o", filepath.Base(path)+extension, path)
	}
	return strings.Join(append(words, flags...), " ")
}
