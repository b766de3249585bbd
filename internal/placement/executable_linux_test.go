package placement

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Only what those could have written who could change the calling program, too, is started.
func TestOpenTrusted(t *testing.T) {
	dir := t.TempDir()
	own := file(t, filepath.Join(dir, "own"), 0o755)
	shared := file(t, filepath.Join(dir, "shared"), 0o775)
	foreign := fakeInfo{own, ids(t, own, 4711, 0)}
	for _, tt := range []struct {
		name string
		mode fs.FileMode
		own  fs.FileInfo
		want bool
	}{
		{"ours", 0o755, own, true},
		{"for its group", 0o775, own, false},
		{"for the group of both", 0o775, shared, true},
		{"for another group", 0o775, fakeInfo{shared, ids(t, shared, os.Geteuid(), 4711)}, false},
		{"for everybody", 0o777, shared, false},
		{"beside that of another user", 0o755, foreign, true},
	} {
		path := filepath.Join(dir, "x")
		file(t, path, tt.mode)
		f, err := openTrusted(path, tt.own)
		if (err == nil) != tt.want {
			t.Errorf("%s: %v, want %t", tt.name, err, tt.want)
		}
		_ = f.Close()
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: files of other users")
	}
	path := filepath.Join(dir, "x")
	file(t, path, 0o755)
	for _, tt := range []struct {
		name string
		own  fs.FileInfo
		want bool
	}{
		{"of another user", own, false},
		{"of the user whose the calling program is", foreign, true},
	} {
		if err := os.Chown(path, 4711, 0); err != nil {
			t.Skipf("needs CAP_CHOWN: %v", err)
		}
		f, err := openTrusted(path, tt.own)
		if (err == nil) != tt.want {
			t.Errorf("%s: %v, want %t", tt.name, err, tt.want)
		}
		_ = f.Close()
	}
}

// Links, folders and what is missing are not started.
func TestOpenTrustedFiles(t *testing.T) {
	dir := t.TempDir()
	own := file(t, filepath.Join(dir, "own"), 0o755)
	if err := os.Symlink(filepath.Join(dir, "own"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", ".", "missing"} {
		if f, err := openTrusted(filepath.Join(dir, name), own); err == nil {
			t.Errorf("%s is opened", name)
			_ = f.Close()
		}
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
