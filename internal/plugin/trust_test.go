package plugin

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	// Only their owner may write to files and folders of these tests, whatever the
	// umask of the person who runs them.
	unix.Umask(0o022)
	os.Exit(m.Run())
}

// trustedDir returns a temporary directory whose path openTrusted accepts.
func trustedDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	probe := filepath.Join(dir, "probe")
	write(t, probe)
	f, _, fail := openTrusted(probe, os.Geteuid())
	if fail != nil {
		t.Skipf("missing capability: a temporary directory that nobody else can write to: %s", fail.Reason)
	}
	_ = f.Close()
	return dir
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTrusted(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		make   func(t *testing.T, dir string)
		open   string // below dir
		want   string // canonical, below dir
		kind   Kind   // the kind of the error, if one is wanted
		reason string
		hint   string
	}{
		{name: "file", make: func(t *testing.T, dir string) { write(t, dir+"/a/x.so") }, open: "a/x.so", want: "a/x.so"},
		{name: "dots", make: func(t *testing.T, dir string) { write(t, dir+"/a/b/x.so") }, open: "a/./b/../b//x.so", want: "a/b/x.so"},
		{name: "links", make: func(t *testing.T, dir string) {
			write(t, dir+"/a/b/x.so")
			must(t, os.Symlink(dir+"/a/b", dir+"/l"))
			must(t, os.Symlink("b/../b/x.so", dir+"/a/y.so"))
		}, open: "l/../y.so", want: "a/b/x.so"},
		{name: "sticky directory", make: func(t *testing.T, dir string) {
			write(t, dir+"/a/x.so")
			must(t, os.Chmod(dir+"/a", 0o777|os.ModeSticky))
		}, open: "a/x.so", want: "a/x.so"},
		{name: "second name in a sticky directory", make: func(t *testing.T, dir string) {
			write(t, dir+"/b/x.so")
			must(t, os.Mkdir(dir+"/a", 0o755))
			must(t, os.Link(dir+"/b/x.so", dir+"/a/x.so"))
			must(t, os.Chmod(dir+"/a", 0o777|os.ModeSticky))
		}, open: "a/x.so", kind: Permissions, reason: "/a/x.so is one of 2 names", hint: "directory"},
		{name: "second name", make: func(t *testing.T, dir string) {
			write(t, dir+"/b/x.so")
			must(t, os.Link(dir+"/b/x.so", dir+"/x.so"))
		}, open: "x.so", want: "x.so"},
		{name: "missing file", make: func(*testing.T, string) {}, open: "x.so", kind: Missing, reason: "does not exist"},
		{name: "missing directory", make: func(*testing.T, string) {}, open: "a/x.so", kind: Missing, reason: "does not exist"},
		{name: "dangling link", make: func(t *testing.T, dir string) {
			must(t, os.Symlink("y.so", dir+"/x.so"))
		}, open: "x.so", kind: Missing, reason: "does not exist"},
		{name: "loop", make: func(t *testing.T, dir string) {
			must(t, os.Symlink("x.so", dir+"/x.so"))
		}, open: "x.so", kind: Missing, reason: "cannot be found"},
		{name: "through a file", make: func(t *testing.T, dir string) { write(t, dir+"/a") }, open: "a/x.so", kind: Missing, reason: "cannot be found"},
		{name: "directory", make: func(t *testing.T, dir string) { write(t, dir+"/a/y") }, open: "a", kind: NotPlugin, reason: "it is a directory"},
		{name: "fifo", make: func(t *testing.T, dir string) { must(t, unix.Mkfifo(dir+"/x.so", 0o600)) }, open: "x.so", kind: NotPlugin, reason: "it is not a regular file"},
		{name: "group", make: func(t *testing.T, dir string) {
			write(t, dir+"/x.so")
			must(t, os.Chmod(dir+"/x.so", 0o664))
		}, open: "x.so", kind: Permissions, reason: "/x.so is writable by its group", hint: "chmod g-w"},
		{name: "everyone", make: func(t *testing.T, dir string) {
			write(t, dir+"/x.so")
			must(t, os.Chmod(dir+"/x.so", 0o666))
		}, open: "x.so", kind: Permissions, reason: "/x.so is writable by everyone", hint: "chmod go-w"},
		{name: "directory of a group", make: func(t *testing.T, dir string) {
			write(t, dir+"/a/b/x.so")
			must(t, os.Chmod(dir+"/a", 0o775))
		}, open: "a/b/x.so", kind: Permissions, reason: "/a is writable by its group", hint: "chmod g-w"},
		{name: "link through a directory of everyone", make: func(t *testing.T, dir string) {
			write(t, dir+"/a/x.so")
			must(t, os.Mkdir(dir+"/b", 0o755))
			must(t, os.Symlink("../a/x.so", dir+"/b/x.so"))
			must(t, os.Chmod(dir+"/b", 0o777))
		}, open: "b/x.so", kind: Permissions, reason: "/b is writable by everyone", hint: "chmod go-w"},
		{name: "link of another user", make: func(t *testing.T, dir string) {
			write(t, dir+"/a/x.so")
			must(t, os.Symlink("a/x.so", dir+"/x.so"))
			chown(t, dir+"/x.so")
		}, open: "x.so", kind: Permissions, reason: "/x.so belongs to uid 12345", hint: "chown"},
		{name: "file of another user", make: func(t *testing.T, dir string) {
			write(t, dir+"/x.so")
			chown(t, dir+"/x.so")
		}, open: "x.so", kind: Permissions, reason: "/x.so belongs to uid 12345", hint: "chown"},
		{name: "directory of another user", make: func(t *testing.T, dir string) {
			write(t, dir+"/a/x.so")
			chown(t, dir+"/a")
		}, open: "a/x.so", kind: Permissions, reason: "/a belongs to uid 12345", hint: "chown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := trustedDir(t)
			tt.make(t, dir)
			f, canonical, fail := openTrusted(dir+"/"+tt.open, os.Geteuid())
			if fail != nil {
				if fail.Kind != tt.kind || !strings.Contains(fail.Reason, tt.reason) || !strings.Contains(fail.Hint, tt.hint) {
					t.Fatalf("got %v, %q, hint %q; want %v, %q, %q", fail.Kind, fail.Reason, fail.Hint, tt.kind, tt.reason, tt.hint)
				}
				return
			}
			defer func() { _ = f.Close() }()
			if tt.kind != 0 {
				t.Fatalf("opened %s, want %v", canonical, tt.kind)
			}
			if want := filepath.Join(dir, tt.want); canonical != want {
				t.Errorf("canonical path %s, want %s", canonical, want)
			}
			if text, err := io.ReadAll(f); err != nil || string(text) != "content" {
				t.Errorf("read %q, %v", text, err)
			}
		})
	}
}

func TestOpenTrustedRelative(t *testing.T) {
	dir := trustedDir(t)
	write(t, dir+"/a/x.so")
	t.Chdir(dir + "/a")
	f, canonical, fail := openTrusted("../a/x.so", os.Geteuid())
	if fail != nil {
		t.Fatal(fail)
	}
	defer func() { _ = f.Close() }()
	if want := filepath.Join(dir, "a/x.so"); canonical != want {
		t.Errorf("canonical path %s, want %s", canonical, want)
	}
}

// TestUnchanged replaces a file after the checks and before the second look.
func TestUnchanged(t *testing.T) {
	dir := trustedDir(t)
	write(t, dir+"/x.so")
	f, canonical, fail := openTrusted(dir+"/x.so", os.Geteuid())
	if fail != nil {
		t.Fatal(fail)
	}
	defer func() { _ = f.Close() }()
	if fail := unchanged(f, canonical); fail != nil {
		t.Errorf("untouched: got %v", fail)
	}
	write(t, dir+"/y.so")
	if err := os.Rename(dir+"/y.so", canonical); err != nil {
		t.Fatal(err)
	}
	if fail := unchanged(f, canonical); fail == nil || fail.Kind != Changed {
		t.Errorf("replaced: got %v, want kind %v", fail, Changed)
	}
}

// chown gives path to another user.
func chown(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing capability: CAP_CHOWN")
	}
	if err := os.Lchown(path, 12345, -1); err != nil {
		t.Skipf("missing capability: CAP_CHOWN: %v", err)
	}
}
