package pins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Check finds what Open would, and makes nothing.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{os.TempDir(), "is not in a BPF file system"},
		{dir, "is not in a BPF file system"},
		{filepath.Join(dir, "new"), "is not in a BPF file system"},
		{filepath.Join(dir, "none", "new"), "no such file"},
		{file, "is not a directory"},
		{link, "is not a directory"},
	} {
		if err := Check(tt.path); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
		if f, err := Open(tt.path); err == nil {
			_ = f.Close()
			t.Errorf("%s can be opened", tt.path)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	for _, tt := range []struct {
		name string
		mode uint32
		fs   int64
		want string // "" if it can be used
	}{
		{"good", unix.S_IFDIR | 0o700, unix.BPF_FS_MAGIC, ""},
		{"of a group", unix.S_IFDIR | 0o770, unix.BPF_FS_MAGIC, "others can write"},
		{"of all", unix.S_IFDIR | unix.S_ISVTX | 0o777, unix.BPF_FS_MAGIC, "others can write"},
		{"elsewhere", unix.S_IFDIR | 0o700, unix.TMPFS_MAGIC, "is not in a BPF file system"},
	} {
		err := judge("/d", &unix.Stat_t{Mode: tt.mode}, &unix.Statfs_t{Type: tt.fs})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
