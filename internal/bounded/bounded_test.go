package bounded

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestReadAll(t *testing.T) {
	for _, most := range []int64{0, 1, 5, 600} {
		for _, tt := range []struct {
			length int64
			want   error
		}{{0, nil}, {most - 1, nil}, {most, nil}, {most + 1, ErrTooLong}, {most + 1000, ErrTooLong}} {
			if tt.length < 0 {
				continue
			}
			text := strings.Repeat("x", int(tt.length))
			for _, in := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
				b, err := ReadAll(in, most)
				if !errors.Is(err, tt.want) || int64(len(b)) != min(most, tt.length) {
					t.Errorf("%d of %d bytes: %d, %v", most, tt.length, len(b), err)
				}
			}
		}
	}
}

// An error of the source is returned as it is.
func TestErrorOfTheSource(t *testing.T) {
	if _, err := ReadAll(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("xxx"))), 2); !errors.Is(err, iotest.ErrTimeout) {
		t.Error(err)
	}
}

// Nobody waits for what is not there yet, as in a file of the kernel that passes for a
// regular one. A FIFO with a silent writer stands for it.
func TestReadingDoesNotWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	f, err := openNow(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := writer.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadAll(f, 2); string(b) != "x" || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%q, %v", b, err)
	}
}

// Whatever has the name of a file is opened at once, or not at all.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file, fifo, link := filepath.Join(dir, "file"), filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{file: nil, link: nil, fifo: ErrNotRegular, dir: ErrNotRegular, os.DevNull: ErrNotRegular, filepath.Join(dir, "none"): fs.ErrNotExist} {
		f, err := Open(path)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err == nil {
			if b, err := ReadAll(f, 2); string(b) != "x" || err != nil {
				t.Errorf("%s: %q, %v", path, b, err)
			}
			_ = f.Close()
		}
	}
	if f, err := OpenItself(link); err == nil {
		t.Error("a link was followed")
		_ = f.Close()
	}
	f, err := OpenItself(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}
