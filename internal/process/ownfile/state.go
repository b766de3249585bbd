// Package ownfile keeps a daemon's files, and takes none that somebody else could
// have put there: state that must survive a restart, replaced whole, and logs that
// may be rotated meanwhile.
//
// Callers decide what the files hold, how lines are queued, and what to do where a file
// cannot be had.
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
)

// Open opens a file for reading. It follows no link, does not wait for a FIFO's
// writer, and refuses what CheckOwn refuses. An error that wraps
// fs.ErrNotExist says that there is none.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := CheckOwn(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// CheckOwn says what is wrong with an open file if it is not a regular one of
// root or of this process's user.
func CheckOwn(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.Name())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, who could have put it there", f.Name(), st.Uid)
	}
	return nil
}

// Write replaces the file by what fill writes. A reader sees the old file or the new
// one, also after a crash; users other than this process's and root cannot read it.
// Missing directories are made. Temporary files of processes that were killed while
// they wrote are removed.
func Write(path string, fill func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	removeAbandoned(path)
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	// Closed at last, as that ends the lock which says that it is in use.
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

// tempSuffix ends the names of files that are being written.
const tempSuffix = ".tmp"

// createTemp makes a file beside path, of mode 0600, with a lock that ends with
// this process.
func createTemp(path string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+tempSuffix)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err == nil && isAt(f, f.Name()) {
			return f, nil
		}
		// Another process took it for abandoned before it was locked.
		_ = f.Close()
	}
}

// removeAbandoned removes the files of createTemp that nobody holds a lock on.
func removeAbandoned(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the write itself says why
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
			_ = os.Remove(name) // what cannot be removed is looked at again next time
		}
		_ = f.Close()
	}
}

func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// isAt tells whether the name still is that of the open file.
func isAt(f *os.File, name string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(open, there)
}

// ReadAll reads a file of max bytes at most, as Open does.
func ReadAll(path string, max int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing to lose
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", max)}
	}
	return b, err
}

// BootID identifies this run of the kernel, so that state which does not outlive
// it can be told from the present (/proc/sys/kernel/random/boot_id, random(4)).
// It is "" where the kernel does not tell.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(b[:min(len(b), 36)])
}
