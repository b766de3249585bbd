package ownfile

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "state.json")
	if _, err := ReadAll(path, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, s := range []string{"first", "second"} {
		if err := Write(path, text(s)); err != nil {
			t.Fatal(err)
		}
		if b, err := ReadAll(path, 6); string(b) != s || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	if _, err := ReadAll(path, 5); err == nil || !strings.Contains(err.Error(), "larger than 5 bytes") {
		t.Errorf("too large: %v", err)
	}
	failed := errors.New("failed")
	if err := Write(path, func(io.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
	if b, _ := ReadAll(path, 10); string(b) != "second" {
		t.Errorf("after a failure: %q", b)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// The next writer removes the file of a writer that was killed. It does not remove the
// file of a running writer, or a file with a similar name.
func TestAbandonedFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, name := range []string{"state.json.123.tmp", "state.json.1", "state.json.old.tmp", "other.json.5.tmp", "state.json..tmp", "777.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	precious := filepath.Join(dir, "precious")
	if err := os.Symlink(precious, filepath.Join(dir, "state.json.7.tmp")); err != nil {
		t.Fatal(err)
	}
	err := Write(path, func(w io.Writer) error {
		// Another writer meanwhile.
		if err := Write(path, text("of the other")); err != nil {
			return err
		}
		return text("whole")(w)
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := ReadAll(path, 100); string(b) != "whole" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"777.tmp", "other.json.5.tmp", "state.json", "state.json..tmp", "state.json.1", "state.json.7.tmp", "state.json.old.tmp"}
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q; %v", left, want, err)
	}
}

// A file system without locks takes files. Where somebody else removes each file, the end
// comes with an error, and with no file left.
func TestLocksThatFail(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lock  func(*os.File) error
		fails bool
		tries int
	}{
		{"no locks", func(*os.File) error { return unix.ENOLCK }, false, 1},
		{"not supported", func(*os.File) error { return unix.EOPNOTSUPP }, false, 1},
		{"taken for abandoned each time", func(f *os.File) error { return errors.Join(os.Remove(f.Name()), unix.EWOULDBLOCK) }, true, mostTries},
		{"removed before the lock each time", func(f *os.File) error { return os.Remove(f.Name()) }, true, mostTries},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, tries := t.TempDir(), 0
			f, err := createTemp(filepath.Join(dir, "state"), func(f *os.File) error {
				tries++
				return tt.lock(f)
			})
			files := 0
			if err == nil {
				files = 1
				_ = f.Close()
			}
			if entries, derr := os.ReadDir(dir); derr != nil || len(entries) != files || (err != nil) != tt.fails || tries != tt.tries {
				t.Errorf("%d files after %d tries, error %v, %v", len(entries), tries, err, derr)
			}
		})
	}
}

// If somebody has put something else in the file's place, it is neither read nor
// replaced.
func TestTraps(t *testing.T) {
	dir := t.TempDir()
	precious, link, fifo := filepath.Join(dir, "precious"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(precious, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, fifo, dir} {
		if b, err := ReadAll(path, 10); err == nil {
			t.Errorf("%s: read %q", path, b)
		}
	}
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for path, kind := range map[string]string{link: "a link", fifo: "a FIFO", socket: "a socket", dir: "a directory"} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(path, text("state")); err == nil || err.Error() != path+" is "+kind+", and no file can take its place" {
			t.Errorf("%s: %v", path, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v", path, err)
		}
	}
	if b, _ := os.ReadFile(precious); string(b) != "data" {
		t.Errorf("the link was followed: %q", b)
	}
	if err := os.Chown(precious, 4711, -1); err != nil {
		t.Skipf("needs CAP_CHOWN and a second user: %v", err)
	}
	if _, err := Open(precious); err == nil || !strings.Contains(err.Error(), "belongs to user 4711") {
		t.Errorf("another user's file: %v", err)
	}
}

func TestDevicesStay(t *testing.T) {
	null := filepath.Join(t.TempDir(), "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("needs CAP_MKNOD: %v", err)
	}
	if err := Write(null, text("state")); err == nil || !strings.Contains(err.Error(), "is a device") {
		t.Errorf("a device: %v", err)
	}
	if info, err := os.Lstat(null); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("the device was replaced: %v, %v", info, err)
	}
}

// If others may have given one of our files another name, it is neither read nor
// written by that name. If nobody else may make names there, it is treated like any
// other file.
func TestHardLinks(t *testing.T) {
	dir := t.TempDir()
	precious, link := filepath.Join(dir, "precious"), filepath.Join(dir, "open", "link")
	if err := errors.Join(os.WriteFile(precious, []byte("data"), 0o600), os.Mkdir(filepath.Dir(link), 0o700), os.Link(precious, link)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode  os.FileMode // of the directory
		taken bool
	}{{0o700, true}, {0o755, true}, {0o770, false}, {0o777 | os.ModeSticky, false}} {
		if err := os.Chmod(filepath.Dir(link), tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAll(link, 10); (err == nil) != tt.taken {
			t.Errorf("mode %v: read: %v", tt.mode, err)
		}
		log := NewLog(link)
		if err := log.WriteLine([]byte("x\n")); (err == nil) != tt.taken {
			t.Errorf("mode %v: written: %v", tt.mode, err)
		}
		log.Close()
		if err := os.WriteFile(precious, []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(filepath.Dir(link), 0o755), os.Chown(filepath.Dir(link), 4711, -1)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAll(link, 10); err == nil {
			t.Error("read in a directory of another user")
		}
	}
	if err := Write(link, text("state")); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(precious); string(b) != "data" {
		t.Errorf("written through a hard link: %q", b)
	}
}

func TestBootID(t *testing.T) {
	if id := BootID(); len(id) != 36 || id != BootID() {
		t.Errorf("boot id %q, then %q", id, BootID())
	}
}

// If owners cannot be told apart, the file may be somebody else's.
func TestOwnerWithoutID(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		f, err := os.CreateTemp("", "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Remove(f.Name()) }()
		_ = f.Close()
		if _, err := Open(f.Name()); err == nil {
			t.Error("opened for reading")
		}
		if err := NewLog(f.Name()).WriteLine([]byte("x\n")); err == nil {
			t.Error("a line was written")
		}
		if err := NewPrivateLog(f.Name()).WriteLine([]byte("x\n")); err == nil {
			t.Error("a private line was written")
		}
	})
}
