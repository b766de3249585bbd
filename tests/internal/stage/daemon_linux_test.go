package stage

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The modules that Fetch loads are enough to build the programs where no module can be
// loaded. Modules come from what this machine has loaded already.
func TestFetch(t *testing.T) {
	if testing.Short() {
		t.Skip("copying modules takes seconds: not in -short mode")
	}
	have, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw") // or it could not be removed
	offline := func() error {
		t.Setenv("GOPROXY", "off")
		return exec.Command("go", "list", "-deps", "github.com/socket-intents/mamma/cmd/...").Run()
	}
	if offline() == nil {
		t.Skip("needs modules that are loaded from a cache: here they are at hand without one, as if vendored")
	}
	t.Setenv("GOPROXY", "file://"+filepath.Join(strings.TrimSpace(string(have)), "cache", "download"))
	Fetch()
	if err := offline(); err != nil {
		t.Error(err)
	}
}
