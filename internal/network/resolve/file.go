package resolve

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/bounded"
)

const (
	// fileInterval is how long a file is taken as unchanged. A new network's
	// resolv.conf should be noticed soon, and a look costs a system call.
	fileInterval = 5 * time.Second

	// maxFile bounds how much of a file is read. Hosts files that block advertisements
	// have some megabytes.
	maxFile = 16 << 20
)

// file is a text file. It is read when it is first needed, and again when it has
// changed.
type file[T any] struct {
	path  string
	parse func([]byte) T
	log   *slog.Logger

	state atomic.Pointer[fileState[T]]
	mu    sync.Mutex // held while reading
}

type fileState[T any] struct {
	value   T
	info    fs.FileInfo // nil: the file does not exist or cannot be read
	checked time.Time
}

func newFile[T any](path string, parse func([]byte) T, log *slog.Logger) *file[T] {
	return &file[T]{path: path, parse: parse, log: log}
}

// load returns the parsed content. A file that does not exist or cannot be read counts
// as empty. The value stays the same as long as the file does.
func (f *file[T]) load(now time.Time) T {
	s := f.state.Load()
	if s != nil && s.fresh(now) {
		return s.value
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.state.Load()
	if old != nil && old.fresh(now) {
		return old.value
	}
	next := f.read(old)
	next.checked = now
	f.state.Store(next)
	return next.value
}

// fresh tells whether the last look at the file is recent. If the clock went back, it
// is false, so that the file is not believed until the clock has caught up.
func (s *fileState[T]) fresh(now time.Time) bool {
	age := now.Sub(s.checked)
	return 0 <= age && age < fileInterval
}

func (f *file[T]) read(old *fileState[T]) *fileState[T] {
	info, err := os.Stat(f.path)
	if err == nil && old != nil && old.info != nil && sameFile(info, old.info) {
		return &fileState[T]{value: old.value, info: info}
	}
	var data []byte
	// A device or a pipe counts as empty.
	if err == nil && info.Mode().IsRegular() {
		var cut bool
		if data, cut, err = readLines(f.path, maxFile); cut {
			f.log.Warn("file is too long, its end is not read", "path", f.path, "bytes", len(data))
		}
	}
	if err == nil {
		return &fileState[T]{value: f.parse(data), info: info}
	}
	if old != nil && old.info == nil {
		return &fileState[T]{value: old.value}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("cannot read file, taking it for empty", "path", f.path, "err", err)
	}
	return &fileState[T]{value: f.parse(nil)}
}

func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readLines reads at most limit bytes of a text file. Of a longer file it returns the
// complete lines. It removes the byte-order mark with which some editors begin files.
// Devices and pipes are errors, because reading them could block for ever.
func readLines(path string, limit int) (data []byte, cut bool, err error) {
	f, err := bounded.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = bounded.ReadAll(f, int64(limit))
	if cut = errors.Is(err, bounded.ErrTooLong); cut {
		data, err = data[:bytes.LastIndexByte(data, '\n')+1], nil
	}
	if err != nil {
		return nil, false, err
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), cut, nil
}
