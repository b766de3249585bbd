package plugin

import (
	"runtime/debug"
	"testing"
)

// testBuild returns a build with the given settings, which are pairs of key and value.
func testBuild(version string, deps []*debug.Module, hashes map[string]fingerprint, keyValue ...string) *build {
	b := &build{hashes: hashes, info: &debug.BuildInfo{GoVersion: version, Path: "example.net/ports", Deps: deps}}
	for i := 0; i < len(keyValue); i += 2 {
		b.info.Settings = append(b.info.Settings, debug.BuildSetting{Key: keyValue[i], Value: keyValue[i+1]})
	}
	return b
}

func TestCompare(t *testing.T) {
	var (
		sys1  = &debug.Module{Path: "golang.org/x/sys", Version: "v0.49.0", Sum: "h1:one"}
		sys2  = &debug.Module{Path: "golang.org/x/sys", Version: "v0.50.0", Sum: "h1:two"}
		sys1b = &debug.Module{Path: "golang.org/x/sys", Version: "v0.49.0", Sum: "h1:other"}
		fork  = &debug.Module{Path: "golang.org/x/sys", Version: "v0.49.0", Replace: &debug.Module{Path: "example.net/sys", Version: "v0.49.0", Sum: "h1:fork"}}
		tree  = &debug.Module{Path: module, Version: "(devel)"}
		tag   = &debug.Module{Path: module, Version: "v0.1.0"}
	)
	const unix, contract, intents = "golang.org/x/sys/unix", module + "/policy", module + "/intent"
	type hashes = map[string]fingerprint
	type modules = []*debug.Module
	tests := []struct {
		name         string
		self, plugin *build
		want         string
	}{
		{"equal",
			testBuild("go1.26.8", modules{sys1, tag}, hashes{unix: {1}, contract: {2}, "fmt": {3}}, "-trimpath", "true", "GOAMD64", "v1", "-ldflags", "-s -w", "vcs.modified", "false"),
			testBuild("go1.26.8", modules{sys1, tree}, hashes{unix: {1}, contract: {2}, "main": {4}}, "-trimpath", "true", "GOAMD64", "v1"),
			""},
		{"toolchain",
			testBuild("go1.26.8", nil, hashes{"fmt": {1}}), testBuild("go1.26.7", nil, hashes{"fmt": {2}}, "-race", "true"),
			"built by go1.26.7, mamma by go1.26.8"},
		{"moved packages, before all else",
			testBuild("go1.26.8", nil, hashes{contract: {1}}), testBuild("go1.26.7", nil, hashes{module + "/mam/policy": {1}, module + "/client/intent": {1}}),
			"imports " + module + "/client/intent, which is " + intents + " now, and " + module + "/mam/policy, which is " + contract + " now"},
		{"a moved package that is still there",
			testBuild("go1.26.8", nil, hashes{module + "/mam/policy": {1}}), testBuild("go1.26.8", nil, hashes{module + "/mam/policy": {1}}),
			""},
		{"settings",
			testBuild("go1.26.8", nil, hashes{"fmt": {1}}, "GOAMD64", "v1", "-trimpath", "true"),
			testBuild("go1.26.8", nil, hashes{"fmt": {2}}, "GOAMD64", "v3", "-tags", "netgo"),
			"GOAMD64 is v3, mamma has v1; -trimpath is unset, mamma has true; -tags is netgo, mamma has unset"},
		{"module version, same fingerprints",
			testBuild("go1.26.8", modules{sys1}, hashes{unix: {1}}), testBuild("go1.26.8", modules{sys2}, hashes{unix: {1}}),
			"module golang.org/x/sys is v0.50.0, mamma has v0.49.0"},
		{"module version, nothing shared",
			testBuild("go1.26.8", modules{sys1}, hashes{unix: {1}}), testBuild("go1.26.8", modules{sys2}, hashes{"golang.org/x/sys/cpu": {1}}),
			""},
		{"module of a similar name",
			testBuild("go1.26.8", modules{sys1}, hashes{"golang.org/x/sysinfo": {1}}), testBuild("go1.26.8", modules{sys2}, hashes{"golang.org/x/sysinfo": {1}}),
			""},
		{"module sum",
			testBuild("go1.26.8", modules{sys1}, hashes{unix: {1}}), testBuild("go1.26.8", modules{sys1b}, hashes{unix: {1}}),
			"module golang.org/x/sys v0.49.0 has another checksum"},
		{"module replaced",
			testBuild("go1.26.8", modules{sys1}, hashes{unix: {1}}), testBuild("go1.26.8", modules{fork}, hashes{unix: {1}}),
			"module golang.org/x/sys is example.net/sys v0.49.0, mamma has golang.org/x/sys v0.49.0"},
		{"package",
			testBuild("go1.26.8", modules{tag}, hashes{contract: {1}, "fmt": {1}}), testBuild("go1.26.8", modules{tree}, hashes{contract: {2}, "fmt": {1}}),
			"package policy differs"},
		{"packages, ours first",
			testBuild("go1.26.8", nil, hashes{contract: {1}, intents: {1}, "example.net/a": {1}}),
			testBuild("go1.26.8", nil, hashes{contract: {2}, intents: {2}, "example.net/a": {2}}),
			"packages intent, policy, example.net/a differ"},
		{"many packages",
			testBuild("go1.26.8", nil, hashes{"a": {1}, "b": {1}, "c": {1}, "d": {1}, "e": {1}}),
			testBuild("go1.26.8", nil, hashes{"a": {2}, "b": {2}, "c": {2}, "d": {2}, "e": {2}}),
			"packages a, b, c and 2 more differ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := compare(tt.self, tt.plugin); got != tt.want {
				t.Errorf("compare:\ngot  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestRebuildHint(t *testing.T) {
	self := testBuild("go1.26.8 X:synctest", nil, nil, "-compiler", "gc", "GOAMD64", "v1", "-trimpath", "true", "-tags", "netgo")
	plugin := testBuild("go1.26.7", nil, nil, "-compiler", "gc", "GOAMD64", "v3", "-race", "true")
	ours := testBuild("go1.26.8", nil, nil)
	ours.info.Path = module + "/policies/sample/plugin"
	released := testBuild("go1.26.8", nil, nil, "-trimpath", "true")
	released.info.Main.Version = "v0.1.0"

	tests := []struct {
		name         string
		self, plugin *build
		want         string
	}{
		{"all differs", self, plugin, "Rebuild it, in a workspace with the source tree of this mamma, with:  " +
			"GOTOOLCHAIN=go1.26.8 GOAMD64=v1 go build -trimpath -tags=netgo -buildmode=plugin -o ports.so example.net/ports"},
		{"our own", self, ours, "Rebuild it, in mamma's source tree, with:  make policies"},
		{"released", released, testBuild("go1.26.8", nil, nil), "Rebuild it, in a workspace with the source tree of this mamma (v0.1.0), with:  " +
			"go build -trimpath -buildmode=plugin -o ports.so example.net/ports"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rebuildHint(tt.self, tt.plugin); got != tt.want {
				t.Errorf("rebuildHint:\ngot  %s\nwant %s", got, tt.want)
			}
		})
	}
}
