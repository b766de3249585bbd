//go:build unix

package userid_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/socket-intents/mamma/internal/userid"
)

func TestOwnDir(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	if err := errors.Join(os.Mkdir(at("own"), 0o755), os.Mkdir(at("open"), 0o700), os.Chmod(at("open"), 0o777), os.Symlink(at("own"), at("link")), os.WriteFile(at("file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"own": true, "open": false, "link": false, "file": false, "none": false}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Mkdir(at("given"), 0o755), os.Chown(at("given"), 4711, -1)); err != nil {
			t.Fatal(err)
		}
		want["given"] = false
	}
	for name, want := range want {
		if got := userid.OwnDir(at(name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
