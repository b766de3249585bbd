package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// maxLinks limits the symbolic links on a path, as the kernel does.
const maxLinks = 40

// openTrusted opens the file at name for reading, if nobody but root and uid can have
// put the file there. It also returns the file's path without symbolic links.
//
// It walks the path from the root. Each step is relative to the directory opened
// before, and the kernel follows no link. Every directory, every link and the file must
// belong to root or uid, and neither group nor others may write to it. A directory with
// the sticky bit is an exception, because there nobody can rename or remove what
// belongs to another user. What lies there must have no other name, because everybody can
// give such a file a second name (link(2)). After the walk, only root and uid can change what the
// returned path leads to. So the plugin package may open the file by name. (It cannot
// open a descriptor, because it resolves /proc/self/fd/N to the name.)
//
// openTrusted gives no protection from root and uid themselves, or from file systems
// that lie about owners, such as another user's FUSE mount.
func openTrusted(name string, uid int) (*os.File, string, *Error) {
	if !path.IsAbs(name) {
		wd, err := os.Getwd()
		if err != nil {
			return nil, "", &Error{Kind: Missing, Reason: "cannot be found", Err: err}
		}
		// Not path.Join: that would resolve ".." before links are known.
		name = wd + "/" + name
	}
	w := walk{uid: uint32(uid), dir: -1}
	defer w.close()
	if fail := w.root(); fail != nil {
		return nil, "", fail
	}
	rest := strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		step := rest[0]
		rest = rest[1:]
		if step == "" || step == "." {
			continue
		}
		fd, st, fail := w.open(step, unix.O_PATH)
		if fail != nil {
			return nil, "", fail
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			w.enter(fd, step, st)
		case unix.S_IFLNK:
			target, err := readLink(fd)
			if err != nil {
				return nil, "", &Error{Kind: Missing, Reason: "cannot be found", Err: err}
			}
			if links++; links > maxLinks {
				return nil, "", &Error{Kind: Missing, Reason: "cannot be found", Err: unix.ELOOP}
			}
			if path.IsAbs(target) {
				if fail := w.root(); fail != nil {
					return nil, "", fail
				}
			}
			rest = append(strings.Split(target, "/"), rest...)
		default:
			_ = unix.Close(fd)
			if len(rest) > 0 {
				return nil, "", &Error{Kind: Missing, Reason: "cannot be found", Err: unix.ENOTDIR}
			}
			return w.file(step)
		}
	}
	return nil, "", &Error{Kind: NotPlugin, Reason: "is not a Go plugin: it is a directory"}
}

// unchanged tells whether the file at the canonical path is still the one that f
// was opened from and checked.
func unchanged(f *os.File, canonical string) *Error {
	was, err := f.Stat()
	if err != nil {
		return &Error{Kind: Failed, Reason: "cannot be checked", Err: err}
	}
	is, err := os.Lstat(canonical)
	if err != nil || !os.SameFile(was, is) || was.Size() != is.Size() || !was.ModTime().Equal(is.ModTime()) {
		return &Error{Kind: Changed, Err: err, Reason: "was replaced while it was being opened",
			Hint: "Restart mamma to load it."}
	}
	return nil
}

// walk is the directory that a path has led to so far.
type walk struct {
	uid  uint32
	dir  int    // descriptor, -1 for none
	path string // its path, without symbolic links
	// shared tells that others can put files there, as in /tmp.
	shared bool
}

func (w *walk) close() {
	if w.dir >= 0 {
		_ = unix.Close(w.dir)
	}
	w.dir = -1
}

// root starts over at the root directory.
func (w *walk) root() *Error {
	w.close()
	w.path = "/"
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &Error{Kind: Missing, Reason: "cannot be found", Err: err}
	}
	w.dir, w.shared = fd, false
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &Error{Kind: Missing, Reason: "cannot be found", Err: err}
	}
	if fail := w.check("/", &st); fail != nil {
		return fail
	}
	w.shared = othersWrite(&st)
	return nil
}

// enter makes a directory the current one. fd is its descriptor, step its name in the
// directory before.
func (w *walk) enter(fd int, step string, st *unix.Stat_t) {
	w.close()
	w.dir, w.path = fd, path.Join(w.path, step) // Join handles ".."
	w.shared = othersWrite(st)
}

// othersWrite tells whether others than its owner may write to something.
func othersWrite(st *unix.Stat_t) bool { return st.Mode&(unix.S_IWGRP|unix.S_IWOTH) != 0 }

// open opens the file or directory that step names in the current directory, and checks
// who can write to it. It follows no link. The caller closes the descriptor.
func (w *walk) open(step string, flags int) (int, *unix.Stat_t, *Error) {
	fd, err := unix.Openat(w.dir, step, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return -1, nil, &Error{Kind: Missing, Reason: "does not exist"}
	case err != nil:
		return -1, nil, &Error{Kind: Missing, Reason: "cannot be opened",
			Err: &fs.PathError{Op: "open", Path: path.Join(w.path, step), Err: err}}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, nil, &Error{Kind: Missing, Reason: "cannot be opened", Err: err}
	}
	if fail := w.check(path.Join(w.path, step), &st); fail != nil {
		_ = unix.Close(fd)
		return -1, nil, fail
	}
	return fd, &st, nil
}

// file opens the regular file that step names, and checks the file that was opened: what
// was checked before could have been replaced. It opens with O_NONBLOCK, so that it does
// not wait for the writer of a FIFO.
func (w *walk) file(step string) (*os.File, string, *Error) {
	fd, st, fail := w.open(step, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if fail != nil {
		return nil, "", fail
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return nil, "", &Error{Kind: NotPlugin, Reason: "is not a Go plugin: it is not a regular file"}
	}
	full := path.Join(w.path, step)
	return os.NewFile(uintptr(fd), full), full, nil
}

func (w *walk) check(full string, st *unix.Stat_t) *Error {
	if st.Uid != 0 && (st.Uid != w.uid || !userid.Known(st.Uid)) {
		return &Error{Kind: Permissions,
			Reason: fmt.Sprintf("is not safe to open: %s belongs to uid %d, not to root or to this process (uid %d)", full, st.Uid, w.uid),
			Hint:   "If you trust what is in it:  chown " + fmt.Sprint(w.uid) + " " + full}
	}
	kind := st.Mode & unix.S_IFMT
	if w.shared && kind != unix.S_IFDIR && st.Nlink > 1 {
		return &Error{Kind: Permissions,
			Reason: fmt.Sprintf("is not safe to open: %s is one of %d names of a file, in a directory that others can write to", full, st.Nlink),
			Hint:   "Put the plugin into a directory that only its owner can write to."}
	}
	if kind == unix.S_IFLNK { // a link's mode says nothing
		return nil
	}
	if kind == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0 {
		return nil
	}
	who, flag := "", ""
	if st.Mode&unix.S_IWGRP != 0 {
		who, flag = "its group", "g"
	}
	if st.Mode&unix.S_IWOTH != 0 {
		who, flag = "everyone", "go"
	}
	if who == "" {
		return nil
	}
	return &Error{Kind: Permissions,
		Reason: fmt.Sprintf("is not safe to open: %s is writable by %s", full, who),
		Hint:   fmt.Sprintf("If you trust what is in it:  chmod %s-w %s", flag, full)}
}

// readLink reads the symbolic link that fd was opened from, and closes fd.
func readLink(fd int) (string, error) {
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", fmt.Errorf("readlink: %w", err)
	}
	return string(buf[:n]), nil
}
