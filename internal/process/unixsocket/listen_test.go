package unixsocket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestListenReplacesStaleSocketOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "mamma.sock")
	l, err := Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode().Perm(); got != 0o666 {
		t.Errorf("mode %v, want 0666 whatever the umask", got)
	}

	// A running server is left alone, and the error names it.
	var inUse *InUseError
	if _, err := Listen(path, 0o666); !errors.As(err, &inUse) || inUse.PID != int32(os.Getpid()) {
		t.Errorf("second Listen: %v; want *InUseError with our pid", err)
	}

	// If the descriptor is closed in another way, the file stays.
	if err := l.UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	l2, err := Listen(path, 0o600)
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	// The path now belongs to the second listener, so closing the first one leaves it.
	_ = l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("another listener's socket was removed: %v", err)
	}
	if err := l2.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v, want the path gone", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Others may read the directory of the socket, and can lock what they can open. That keeps
// nobody waiting.
func TestListenInALockedDirectory(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(filepath.Join(dir, "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Nor does it wait for a lock on a file that others could have opened.
func TestListenBesideALockedFile(t *testing.T) {
	for _, tt := range []struct {
		name      string
		dir, file os.FileMode
	}{
		{"in a directory that others write to", 0o777, 0o600},
		{"that others can read", 0o755, 0o644},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "s")
			f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }() // ends a Listen that waits
			if err := errors.Join(os.Chmod(dir, tt.dir), f.Chmod(tt.file), unix.Flock(int(f.Fd()), unix.LOCK_EX)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() {
				l, err := Listen(path, 0o600)
				if err == nil {
					err = l.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Error("it waits")
				_ = f.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A socket is left alone if nobody can tell whether it is served, as while its queue is full.
func TestListenLeavesABusySocketAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", path)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	if l, err := Listen(path, 0o600); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("Listen: %v, want EAGAIN", err)
		if err == nil {
			_ = l.Close()
		}
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("what is left: %v, %v", info, err)
	}
}

// Of daemons that start at the same time, one gets the path.
func TestListenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	results := make(chan error)
	listeners := make(chan *Listener, 8)
	for range cap(listeners) {
		go func() {
			l, err := Listen(path, 0o600)
			if err == nil {
				listeners <- l
			}
			results <- err
		}()
	}
	for range cap(listeners) {
		var inUse *InUseError
		if err := <-results; err != nil && !errors.As(err, &inUse) {
			t.Error(err)
		}
	}
	if n := len(listeners); n != 1 {
		t.Errorf("%d have the path", n)
	}
	for range len(listeners) {
		if err := (<-listeners).Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestListenLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		var not *NotSocketError
		if _, err := Listen(path, 0o666); !errors.As(err, &not) {
			t.Errorf("Listen(%s): %v, want *NotSocketError", filepath.Base(path), err)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file now holds %q", b)
	}
}

func TestListenNotInOthersDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_CHOWN to make a directory of another user")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Skipf("needs CAP_CHOWN to make a directory of another user: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, "s"), 0o666); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("Listen: %v", err)
	}
}

// accepted returns the server's end of a connection of this process to itself.
func accepted(t *testing.T) *net.UnixConn {
	t.Helper()
	l, err := Listen(filepath.Join(t.TempDir(), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial("unix", l.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestPeerCred(t *testing.T) {
	got, err := PeerCred(accepted(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Cred{PID: int32(os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
