// Package ownfile reads and writes a daemon's files. There are two kinds: state that
// must survive a restart (replaced as a whole, see [Write]) and logs that may be
// rotated meanwhile (see [Log]). The package refuses files that another user could
// have put in place.
//
// Callers decide what the files hold, how lines are queued, and what to do if a file
// cannot be opened.
package ownfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/internal/userid"
)

// Open opens a file for reading. It follows no link, refuses what CheckOwn refuses, and
// waits for nothing (see bounded.Open). An error that wraps fs.ErrNotExist says
// that there is no such file.
func Open(path string) (*os.File, error) {
	f, err := bounded.OpenItself(path)
	if err != nil {
		return nil, err
	}
	if err := CheckOwn(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// CheckOwn returns an error unless f is a regular file that belongs to root or to
// this process's user, and that nobody else can have given its name to: where others
// may write to the directory, the name may be a hard link to any such file.
func CheckOwn(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.Name())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && !userid.Trusted(st.Uid) {
		return fmt.Errorf("%s belongs to user %d, who could have put it there", f.Name(), st.Uid)
	} else if ok && st.Nlink > 1 && othersWrite(filepath.Dir(f.Name())) {
		return fmt.Errorf("%s is one of %d names of a file, and somebody other than its owner could have put it there", f.Name(), st.Nlink)
	}
	return nil
}

// othersWrite tells whether others than root and this process's user may write to a
// directory.
func othersWrite(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || !userid.Trusted(st.Uid) || info.Mode().Perm()&0o022 != 0
}

// Write replaces the file by what fill writes. A reader sees the old file or the new
// one, never a part; that holds after a crash too. Only root and this process's user
// can read the new file. Write makes missing directories, and removes the temporary
// files of processes that were killed while they wrote.
//
// Only a file is replaced. Anything else is left as it is, and is an error: a device, a
// FIFO, a socket, or a link, whatever it leads to. "/dev/null" and "/dev/stdout" are what
// people name who want no file, and the whole host needs them.
func Write(path string, fill func(io.Writer) error) (err error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is %s, and no file can take its place", path, kind(info.Mode()))
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	removeAbandoned(path)
	f, err := createTemp(path, lock)
	if err != nil {
		return err
	}
	// Close comes last, because it ends the lock that says that the file is in use.
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
		err = errors.Join(err, f.Close())
	}()
	if err := errors.Join(fill(f), f.Sync()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// kind says in words what kind of file m describes, which is not a regular one.
func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a link"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m.IsDir():
		return "a directory"
	}
	return "no regular file"
}

// tempSuffix ends the names of files that are not complete yet.
const tempSuffix = ".tmp"

// mostTries is how often a file is made anew because somebody else has removed it.
const mostTries = 100

// createTemp makes a file of mode 0600 in the directory of path and locks the file.
// The kernel ends the lock when this process ends, however that happens. On a file system
// without locks the file has none. There nobody else can lock it either, so nobody takes
// it for abandoned.
func createTemp(path string, lock func(*os.File) error) (*os.File, error) {
	for range mostTries {
		f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+tempSuffix)
		if err != nil {
			return nil, err
		}
		err = lock(f)
		if !errors.Is(err, unix.EWOULDBLOCK) && isAt(f, f.Name()) {
			return f, nil
		}
		// Another process took the file for abandoned before the lock was set.
		_ = f.Close()
	}
	return nil, fmt.Errorf("%s: others removed what was written, %d times", path, mostTries)
}

// removeAbandoned removes the files of createTemp that no process holds a lock on:
// their writers ended before they were complete.
func removeAbandoned(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the write fails for the same reason, and returns it
	}
	for _, e := range entries {
		number, begins := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		number, ends := strings.CutSuffix(number, tempSuffix)
		if !begins || !ends || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		name := filepath.Join(filepath.Dir(path), e.Name())
		f, err := Open(name)
		if err != nil {
			continue // not ours
		}
		if lock(f) == nil && isAt(f, name) {
			_ = os.Remove(name) // after an error the next Write tries again
		}
		_ = f.Close()
	}
}

func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// isAt tells whether name still belongs to the open file.
func isAt(f *os.File, name string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(open, there)
}

// ReadAll reads a whole file, which it opens by Open. A file of more than max bytes
// is an error.
func ReadAll(path string, max int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing to lose
	b, err := bounded.ReadAll(f, max)
	if errors.Is(err, bounded.ErrTooLong) {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", max)}
	}
	return b, err
}

// BootID returns a name for this run of the kernel (/proc/sys/kernel/random/boot_id,
// random(4)). A file that holds the name tells its reader whether the host was
// restarted since. BootID returns "" if the kernel gives no name.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(b[:min(len(b), 36)])
}
