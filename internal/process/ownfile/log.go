package ownfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// Log appends lines to a file that others may rotate, remove or replace meanwhile,
// and whose disk may be full. The file is opened at the first line, and opened again
// after it was renamed or removed. Lines are written at once, on the caller's
// goroutine.
//
// Links are not followed. Only regular files of root or of this process's user are
// written to, because the owner of a file can read what is written.
//
// A Log is not safe for concurrent use.
type Log struct {
	path    string
	private bool
	file    *os.File
	size    int64 // the file's size at the latest look
	opened  bool  // the file was opened after the latest call of Prepare
	torn    bool  // the last line in the file lacks its newline
}

// NewLog makes a Log. It opens nothing yet.
func NewLog(path string) *Log { return &Log{path: path} }

// NewPrivateLog makes a Log whose file only its owner may read. A file that exists
// already must belong to the process's user and give no rights to others.
func NewPrivateLog(path string) *Log { return &Log{path: path, private: true} }

// Path returns the path that the Log was made with.
func (f *Log) Path() string { return f.path }

// Prepare opens the file if necessary, and returns its size. opened is true if the
// file was opened since the previous call of Prepare; the name may then belong to
// another file than before.
func (f *Log) Prepare() (size int64, opened bool, err error) {
	if err := f.reopen(); err != nil {
		return 0, false, err
	}
	opened, f.opened = f.opened, false
	return f.size, opened, nil
}

// WriteLine appends line, which must end with a newline, in one write. After an
// error the line is lost, whole or in part. The next call begins a new line in any
// case.
func (f *Log) WriteLine(line []byte) error {
	if err := f.reopen(); err != nil {
		return err
	}
	if f.torn {
		// A full disk has left part of a line, which is ended here.
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

// reopen opens the file if none is open, or if the name belongs to another file now.
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
	// Without O_NONBLOCK, opening a FIFO of that name would wait for a reader.
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

// checkPrivate refuses a file that others can read, because they own the file or
// because its mode permits it.
func (f *Log) checkPrivate(info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && !userid.Own(st.Uid) {
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
		_ = f.file.Close() // an error would tell of no line: each was written, or its error returned
		f.file, f.torn = nil, false
	}
}
