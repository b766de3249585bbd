package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	f, err := openFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan string, 10)
	done := make(chan error)
	go func() {
		done <- f.run(ctx, slog.New(slog.DiscardHandler), func(s string) error {
			got <- s
			return nil
		})
	}()
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// There are two lines in one write, one line in two writes, an empty line, and one that
	// is too long.
	for _, text := range []string{"one\ntwo\n", "th", "ree\n\n", strings.Repeat("x", 3*maxFIFOLine) + "\n", "four\n"} {
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close() // the reader outlives its writers
	for _, want := range []string{"one", "two", "three", "four"} {
		if s := <-got; s != want {
			t.Errorf("got %.20q, want %q", s, want)
		}
	}
	// These are texts without an end, each from a writer of its own.
	for _, want := range []string{"five", "six"} {
		if err := os.WriteFile(path, []byte(want), 0); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != want {
			t.Errorf("got %.20q, want %q", s, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	f.close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the FIFO is left behind: %v", err)
	}
}

func TestFIFORefusesWhatIsNotOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	fifo, name := filepath.Join(dir, "fifo"), filepath.Join(dir, "name")
	linked, ours, given := filepath.Join(dir, "linked"), filepath.Join(dir, "ours"), filepath.Join(dir, "given")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Link(fifo, name), unix.Mkfifo(given, 0o600), unix.Mkfifo(ours, 0o600), os.Symlink(ours, linked)); err != nil {
		t.Fatal(err)
	}
	refused := []string{file, link, dir, name, linked}
	if os.Geteuid() == 0 {
		if err := os.Chown(given, 4711, -1); err != nil {
			t.Fatal(err)
		}
		refused = append(refused, given)
	}
	for _, path := range refused {
		if _, err := openFIFO(path); err == nil {
			t.Errorf("%s was taken for a FIFO", filepath.Base(path))
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file now holds %q", b)
	}
}
