package ownfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Log is a log file: it may be rotated, removed or on a full disk, and others may
// try to turn it into something else. It writes when it is told to, on the
// caller's goroutine. It is opened at the first line, and again when it was
// renamed or removed. Links are not followed, and only regular files of root or of
// this process's user are written to: whoever owns a file can read it. It is not
// safe for concurrent use.
type Log struct {
	path    string
	private bool
	file    *os.File
	size    int64 // when it was looked at last
	opened  bool  // since Prepare told so
	torn    bool  // the last line in the file has no end
}

// NewLog makes a Log; nothing is opened yet.
func NewLog(path string) *Log { return &Log{path: path} }

// NewPrivateLog makes a Log that only its owner may read. One that exists must
// belong to the process's user and be closed to all others.
func NewPrivateLog(path string) *Log { return &Log{path: path, private: true} }

// Path is where the file is.
func (f *Log) Path() string { return f.path }

// Prepare opens the file if that is needed, and returns its size. opened tells
// that since the last call the file was opened, for the first time or again: it
// may be another one.
func (f *Log) Prepare() (size int64, opened bool, err error) {
	if err := f.reopen(); err != nil {
		return 0, false, err
	}
	opened, f.opened = f.opened, false
	return f.size, opened, nil
}

// WriteLine appends a line, whose newline is part of it, in one write. After an
// error the line is lost, whole or in part; the next one begins on a line of its own.
func (f *Log) WriteLine(line []byte) error {
	if err := f.reopen(); err != nil {
		return err
	}
	if f.torn {
		// End the piece of a line that a full disk has left.
		if _, err := f.file.Write([]byte("\n")); err != nil {
			return err
		}
		f.torn = false
	}
	n, err := f.file.Write(line)
	if err != nil && n > 0 {
		f.torn = true
	}
	return err
}

// reopen opens the file if it is not open or no longer the one of that name.
func (f *Log) reopen() error {
	if f.file != nil {
		open, err := f.file.Stat()
		if err != nil {
			return err
		}
		named, err := os.Lstat(f.path)
		if err == nil && os.SameFile(open, named) {
			f.size = open.Size()
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.Close()
	}
	// Without O_NONBLOCK a FIFO of that name would hold us up for ever.
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK
	mode := fs.FileMode(0o644)
	if f.private {
		mode = 0o600
	}
	file, err := os.OpenFile(f.path, flags, mode)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && f.private {
		err = f.checkPrivate(info)
	}
	if err == nil {
		err = CheckOwn(file)
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	f.file, f.size, f.opened = file, info.Size(), true
	return nil
}

// checkPrivate refuses a file that others can read: one that they own, or that
// its mode opens to them.
func (f *Log) checkPrivate(info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, who could read what is written", f.path, st.Uid)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o, and others could read what is written: chmod 600", f.path, mode)
	}
	return nil
}

// Close closes the file; a later WriteLine opens it again.
func (f *Log) Close() {
	if f.file != nil {
		_ = f.file.Close() // every line was written by then
		f.file, f.torn = nil, false
	}
}
