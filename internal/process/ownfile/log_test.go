package ownfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := NewLog(path)
	defer f.Close()
	write := func(line string) {
		t.Helper()
		if err := f.WriteLine([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	write("two\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("three\n")
	if got, old := read(t, path), read(t, path+".1"); got != "three\n" || old != "one\ntwo\n" {
		t.Errorf("after renaming: %q and %q", got, old)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write("four\n")
	f.Close()
	write("five\n")
	if got := read(t, path); got != "four\nfive\n" {
		t.Errorf("after removing: %q", got)
	}
}

func TestOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink(precious, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, fifo, dir, filepath.Join(dir, "none", "log")} {
		if err := NewLog(path).WriteLine([]byte("x\n")); err == nil {
			t.Errorf("wrote to %s", filepath.Base(path))
		}
	}
	if got := read(t, precious); got != "data" {
		t.Errorf("written through a link: %q", got)
	}
}

func TestTornLineIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := NewLog(path)
	defer f.Close()
	if err := f.WriteLine([]byte("part of a li")); err != nil {
		t.Fatal(err)
	}
	f.torn = true // as after a write that ended early
	if err := f.WriteLine([]byte("next\n")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "part of a li\nnext\n" {
		t.Errorf("got %q", got)
	}
}

func TestPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := NewPrivateLog(path)
	defer f.Close()
	prepare := func(size int64, opened bool) {
		t.Helper()
		gotSize, gotOpened, err := f.Prepare()
		if gotSize != size || gotOpened != opened || err != nil {
			t.Errorf("Prepare = %d, %v, %v; want %d, %v", gotSize, gotOpened, err, size, opened)
		}
	}
	prepare(0, true)
	if err := f.WriteLine([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	prepare(4, false)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteLine([]byte("two two\n")); err != nil {
		t.Fatal(err)
	}
	prepare(8, true)
	f.Close()
	prepare(8, true)
	f.Close()
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Prepare(); err == nil {
		t.Error("a file that a group can read was opened")
	}
	if got := read(t, path); got != "two two\n" {
		t.Errorf("got %q", got)
	}
}
