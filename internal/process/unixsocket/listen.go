// Package unixsocket creates and removes the daemon's Unix sockets, with care for files
// that exist already. It also tells who is at the other end of a connection.
//
// A socket at which nobody answers is replaced. A socket that a live process serves,
// and anything that is not a socket, is left alone, and so is a socket of which it cannot be
// told whether anybody serves it. At the end the package removes
// only what it has created. Callers serve the connections.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// InUseError says that a live process serves the path.
type InUseError struct {
	Path string
	PID  int32 // 0 if unknown
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: another process answers there", e.Path)
	}
	return fmt.Sprintf("%s: another process (pid %d) answers there", e.Path, e.PID)
}

// NotSocketError says that the path belongs to something that is not a socket.
type NotSocketError struct {
	Path string
	Mode fs.FileMode
}

func (e *NotSocketError) Error() string {
	return fmt.Sprintf("%s: there is something else than a socket (%v); it is left alone", e.Path, e.Mode)
}

// dialTimeout bounds an attempt to connect, which shows whether somebody serves an
// existing socket. The kernel answers for a live server at once, whatever the server is
// doing, unless its queue is full.
const dialTimeout = time.Second

// Listener is a listening Unix stream socket. Close removes its path, unless the path
// belongs to somebody else by then, or the socket was adopted.
type Listener struct {
	*net.UnixListener
	path     string
	dev, ino uint64 // identify the published socket; zero: its path must not be removed
	once     sync.Once
	err      error
}

// Path returns the path of the socket.
func (l *Listener) Path() string { return l.path }

// Listen creates a socket at path with the given permission bits and listens there. It
// creates missing parent directories with mode 0755. The error is an *InUseError or a
// *NotSocketError if the path is taken.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	if err := trustDir(dir); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	unlock := lock(path)
	defer unlock()
	if err := clear(path); err != nil {
		return nil, err
	}
	// The socket gets its name only when it has its mode and listens, so that no client
	// finds it half made.
	hidden := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(hidden)
	ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	ul.SetUnlinkOnClose(false)
	l := &Listener{UnixListener: ul, path: path}
	if err := l.publish(hidden, mode); err != nil {
		_ = ul.Close()
		_ = os.Remove(hidden)
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return l, nil
}

// Adopt makes a Listener of a socket that another process has made, such as the service
// manager. Close leaves its path in place.
func Adopt(ul *net.UnixListener) *Listener {
	ul.SetUnlinkOnClose(false)
	return &Listener{UnixListener: ul, path: ul.Addr().String()}
}

func (l *Listener) publish(hidden string, mode fs.FileMode) error {
	if err := os.Chmod(hidden, mode); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(hidden, &st); err != nil {
		return err
	}
	l.dev, l.ino = st.Dev, st.Ino
	return os.Rename(hidden, l.path)
}

// trustDir refuses a directory that belongs to another user than root and ours, because
// that user could replace our socket.
func trustDir(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if !userid.Trusted(st.Uid) {
		return fmt.Errorf("%s belongs to user %d, who could replace the socket", dir, st.Uid)
	}
	return nil
}

// lock keeps two daemons that start at the same time from replacing each other's socket,
// where it can. It locks a file beside the socket, which unlock removes. Whoever can open a
// file, or a directory, can lock it for ever (flock(2)). So only this user can open the file,
// and lock does nothing in a directory that is another user's or where others can write, such
// as /tmp, where anybody could make that file. After an error it locks nothing either.
func lock(path string) (unlock func()) {
	none := func() {}
	var st unix.Stat_t
	if unix.Stat(filepath.Dir(path), &st) != nil || !userid.Own(st.Uid) || st.Mode&0o022 != 0 {
		return none
	}
	for {
		f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return none
		}
		if info, err := f.Stat(); err != nil || info.Mode().Type() != 0 || info.Mode().Perm()&0o077 != 0 || flock(f) != nil {
			_ = f.Close()
			return none
		}
		open, err := f.Stat()
		there, err2 := os.Lstat(f.Name())
		if err == nil && err2 == nil && os.SameFile(open, there) {
			return func() {
				_ = os.Remove(f.Name())
				_ = f.Close()
			}
		}
		_ = f.Close() // another daemon has removed it before it was locked
	}
}

// flock locks a file, and waits for whoever has it locked.
func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Check tells why Listen would refuse path. The error is an *InUseError or a
// *NotSocketError if path is taken. Check returns nil if path is free, or if nobody serves the
// socket there, which Listen then replaces. Other errors mean that this cannot be told.
func Check(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen at %s: %w", path, err)
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return &NotSocketError{Path: path, Mode: fi.Mode()}
	}
	c, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		defer func() { _ = c.Close() }()
		cred, _ := PeerCred(c.(*net.UnixConn))
		return &InUseError{Path: path, PID: cred.PID}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		// Access is denied, or a live server's queue is full. Either way the socket may
		// be in use.
		return fmt.Errorf("listen at %s: a socket is there and it cannot be told whether anybody serves it: %w", path, err)
	}
	return nil
}

// clear removes a socket at path that nobody serves.
func clear(path string) error {
	if err := Check(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listen at %s: remove a stale socket: %w", path, err)
	}
	return nil
}

// Close stops listening, and removes the path if it still belongs to this socket. An
// inode number is not enough to tell: once the file of this socket is removed, the socket of
// a successor may get the same number. So Close leaves the path alone if somebody still
// answers there.
func (l *Listener) Close() error {
	l.once.Do(func() {
		if err := l.UnixListener.Close(); !errors.Is(err, net.ErrClosed) {
			l.err = err
		}
		var st unix.Stat_t
		if l.ino != 0 && unix.Lstat(l.path, &st) == nil && st.Dev == l.dev && st.Ino == l.ino && !served(l.path) {
			l.err = errors.Join(l.err, os.Remove(l.path))
		}
	})
	return l.err
}

func served(path string) bool {
	c, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		_ = c.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED)
}
