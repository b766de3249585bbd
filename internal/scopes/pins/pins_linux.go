// Package pins manages the directory of links to programs in the kernel. With a link, a
// program outlives the daemon that attached it. Package pins knows nothing about the programs.
// They end when their links are removed.
package pins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Default is the directory that is used if the configuration names no other.
const Default = "/sys/fs/bpf/mamma"

var (
	// ErrUnusable means that a directory cannot keep links.
	ErrUnusable = errors.New("links cannot be kept")
	// ErrInUse means that another process keeps its links in the same directory.
	ErrInUse = errors.New("another mamma keeps its links there")
)

// Open makes the directory, and reserves it for this process until the file is closed. Only
// this user may be able to write there, because whoever can write there can put other programs
// in the place of ours. The error wraps ErrUnusable, and also ErrInUse if that is the cause.
func Open(dir string) (*os.File, error) {
	made := os.Mkdir(dir, 0o700)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, made)
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if err := usable(f); err != nil {
		_ = f.Close()
		if made == nil {
			_ = os.Remove(dir)
		}
		return nil, err
	}
	if err := f.Chmod(0o700); err != nil { // whoever can open it can lock it
		_ = f.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("%w in %s: %w", ErrUnusable, dir, err)
	}
	return f, nil
}

func usable(f *os.File) error {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &st), unix.Fstatfs(int(f.Fd()), &fs)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if err := judge(f.Name(), &st, &fs); err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to user %d", ErrUnusable, f.Name(), st.Uid)
	}
	return nil
}

// judge tells what is wrong with a directory for whatever user keeps links there.
func judge(dir string, st *unix.Stat_t, fs *unix.Statfs_t) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%w: %s is not a directory", ErrUnusable, dir)
	case fs.Type != unix.BPF_FS_MAGIC:
		return fmt.Errorf("%w: %s is not in a BPF file system (mount -t bpf bpf %s)", ErrUnusable, dir, filepath.Dir(dir))
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%w: others can write to %s", ErrUnusable, dir)
	}
	return nil
}

// Check tells whether Open would find something wrong with the directory, without making
// it. The user may be another one than the one who will call Open, so Check passes over
// whose the directory is, and over what this user may not look at.
func Check(dir string) error {
	var st unix.Stat_t
	var fs unix.Statfs_t
	err := unix.Lstat(dir, &st)
	if errors.Is(err, unix.ENOENT) {
		return checkParent(dir)
	}
	if err == nil {
		err = unix.Statfs(dir, &fs)
	}
	switch {
	case errors.Is(err, unix.EACCES):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrUnusable, dir, err)
	}
	return judge(dir, &st, &fs)
}

// checkParent tells whether Open can make the directory dir.
func checkParent(dir string) error {
	var fs unix.Statfs_t
	parent := filepath.Dir(dir)
	switch err := unix.Statfs(parent, &fs); {
	case errors.Is(err, unix.EACCES):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrUnusable, parent, err)
	case fs.Type != unix.BPF_FS_MAGIC:
		return fmt.Errorf("%w: %s is not in a BPF file system (mount -t bpf bpf %s)", ErrUnusable, dir, parent)
	}
	return nil
}

// Remove removes the directory with everything in it.
func Remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Detach removes what an earlier process has left in a directory, and tells whether there was
// anything. While another process uses the directory, the error wraps ErrInUse.
func Detach(dir string) (found bool, err error) {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	lock, err := Open(dir)
	if err != nil {
		return false, err
	}
	defer lock.Close() //nolint:errcheck // only read
	entries, err := lock.ReadDir(-1)
	if err != nil {
		return false, err
	}
	return len(entries) > 0, Remove(dir)
}
