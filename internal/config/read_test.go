package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A FIFO is waited for until somebody writes to it, or nobody wants it any more.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	idle, fifo, file := filepath.Join(dir, "idle"), filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := errors.Join(unix.Mkfifo(idle, 0o600), unix.Mkfifo(fifo, 0o600), os.WriteFile(file, []byte("auto = true\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := ReadFile(ended, idle, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody writes: %v", err)
	}
	// Whoever opens it for writing now would find the reader that was left, and feed that. Such a
	// reader may come a moment later.
	for range 1000 {
		runtime.Gosched()
		if fd, err := unix.Open(idle, unix.O_WRONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.ENXIO) {
			_ = unix.Close(fd)
			t.Fatalf("a reader is left: %v", err)
		}
	}
	if b, err := ReadFile(t.Context(), file, 4); string(b) != "auto" || err != nil {
		t.Errorf("a file: %q, %v", b, err)
	}
	if _, err := ReadFile(t.Context(), filepath.Join(dir, "none"), 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadFile(t.Context(), dir, 4); err == nil {
		t.Error("a directory was read")
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(fifo, []byte("auto = true\n"), 0) }()
	if c, err := Load(t.Context(), fifo); err != nil || !c.Auto {
		t.Errorf("somebody writes: %+v, %v", c, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
