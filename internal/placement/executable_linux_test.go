package placement

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
)

// Only what those could have written who could change the calling program, too, is started.
func TestTrusted(t *testing.T) {
	dir := t.TempDir()
	own := file(t, filepath.Join(dir, "own"), 0o755)
	shared := file(t, filepath.Join(dir, "shared"), 0o775)
	foreign := fakeInfo{own, ids(t, own, 4711, 0)}
	for _, tt := range []struct {
		name      string
		file, own fs.FileInfo
		want      bool
	}{
		{"ours", own, own, true},
		{"for its group", shared, own, false},
		{"for the group of both", shared, shared, true},
		{"for another group", shared, fakeInfo{shared, ids(t, shared, os.Geteuid(), 4711)}, false},
		{"for everybody", file(t, filepath.Join(dir, "all"), 0o777), shared, false},
		{"beside that of another user", own, foreign, true},
		{"of another user", foreign, own, false},
		{"of the user whose the calling program is", foreign, foreign, true},
		{"of root", fakeInfo{own, ids(t, own, 0, 0)}, foreign, true},
	} {
		if got := trusted(tt.file, tt.own); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// Users and groups without an id are nobody, also if the calling program is one's.
func TestTrustedWithoutIDs(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "own")
		own := file(t, path, 0o755)
		if trusted(own, own) {
			t.Error("a file of nobody in particular is started")
		}
		root := fakeInfo{file(t, path, 0o775), ids(t, own, 0, unmapped.UID)}
		if trusted(root, root) {
			t.Error("a file is started that nobody in particular can write to")
		}
	})
}

// openTrusted finds what lies where it should, and nothing that a stranger put there.
func TestOpenTrusted(t *testing.T) {
	const beside, below = ".", "../libexec/mamma"
	link := func(dir, place string) error {
		return os.Link(filepath.Join(dir, "other"), filepath.Join(dir, "bin", place, supervisorName))
	}
	for _, tt := range []struct {
		name, place string
		spoil       func(dir string) error
		want        bool
	}{
		{"beside it", beside, nil, true},
		{"below its folder", below, nil, true},
		{"missing", beside, func(dir string) error { return os.Remove(filepath.Join(dir, "bin", supervisorName)) }, false},
		{"folder", beside, func(dir string) error {
			path := filepath.Join(dir, "bin", supervisorName)
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o755))
		}, false},
		{"link", beside, func(dir string) error {
			path := filepath.Join(dir, "bin", supervisorName)
			return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path))
		}, false},
		{"that everybody can write to", beside, func(dir string) error { return os.Chmod(filepath.Join(dir, "bin", supervisorName), 0o777) }, false},
		{"second name", beside, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "bin", supervisorName)), link(dir, beside))
		}, true},
		{"second name in a folder like /tmp", beside, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "bin", supervisorName)), link(dir, beside), os.Chmod(filepath.Join(dir, "bin"), 0o777|fs.ModeSticky))
		}, false},
		{"only name in a folder like /tmp", beside, func(dir string) error { return os.Chmod(filepath.Join(dir, "bin"), 0o777|fs.ModeSticky) }, true},
		{"in a folder that others can write to", below, func(dir string) error { return os.Chmod(filepath.Join(dir, "libexec/mamma"), 0o777|fs.ModeSticky) }, false},
		{"below a folder that others can write to", below, func(dir string) error { return os.Chmod(filepath.Join(dir, "libexec"), 0o777) }, false},
		{"by way of a link", below, func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "libexec"), filepath.Join(dir, "other2")), os.Symlink("other2", filepath.Join(dir, "libexec")))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"bin", "libexec", "libexec/mamma"} {
				if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			own := filepath.Join(dir, "bin/mammactl")
			file(t, own, 0o755)
			file(t, filepath.Join(dir, "other"), 0o755)
			file(t, filepath.Join(dir, "bin", tt.place, supervisorName), 0o755)
			if tt.spoil != nil {
				if err := tt.spoil(dir); err != nil {
					t.Fatal(err)
				}
			}
			f, err := openTrusted(own, tt.place)
			if (err == nil) != tt.want {
				t.Errorf("%v, want %t", err, tt.want)
			}
			_ = f.Close()
		})
	}
}

// file writes a file, whatever the umask.
func file(t *testing.T, path string, mode fs.FileMode) fs.FileInfo {
	t.Helper()
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// fakeInfo is about a file of another user or group.
type fakeInfo struct {
	fs.FileInfo
	st *syscall.Stat_t
}

func (f fakeInfo) Sys() any { return f.st }

func ids(t *testing.T, info fs.FileInfo, uid, gid int) *syscall.Stat_t {
	t.Helper()
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%T", info.Sys())
	}
	other := *st
	other.Uid, other.Gid = uint32(uid), uint32(gid)
	return &other
}
