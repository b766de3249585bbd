package scopes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// tree watches the control groups below a root. All methods but run must be called by one
// goroutine.
type tree struct {
	root   string
	file   *os.File // of inotify(7)
	fd     int
	events chan inotifyEvent

	dirs  map[int32]string  // by watch
	watch map[string]int32  // by path from the root
	ids   map[string]uint64 // of groups
}

// inotifyEvent is one event. The zero value means that events were lost.
type inotifyEvent struct {
	watch int32
	mask  uint32
	name  string
}

// openTree prepares to watch the groups below root. The caller starts run, reads events, and
// calls close at the end.
func openTree(root string) (*tree, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	t := &tree{
		root: filepath.Clean(root), fd: fd, file: os.NewFile(uintptr(fd), "inotify"), events: make(chan inotifyEvent),
		dirs: map[int32]string{}, watch: map[string]int32{}, ids: map[string]uint64{},
	}
	return t, nil
}

func (t *tree) close() { _ = t.file.Close() }

// run reads events until close is called or stop is closed.
func (t *tree) run(stop <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.file.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			raw := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
			size := unix.SizeofInotifyEvent + int(raw.Len)
			if size > len(b) {
				break
			}
			e := inotifyEvent{raw.Wd, raw.Mask, string(bytes.TrimRight(b[unix.SizeofInotifyEvent:size], "\x00"))}
			if e.mask&unix.IN_Q_OVERFLOW != 0 {
				e = inotifyEvent{}
			}
			b = b[size:]
			select {
			case t.events <- e:
			case <-stop:
				return
			}
		}
	}
}

// interest is what the kernel is to report of a directory.
const interest = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_ATTRIB

// look calls each for the group at path at, which begins at the root, and for all groups
// below. Watching begins before reading, so that no new group is missed in between.
func (t *tree) look(at string, each func(path string, id uint64)) error {
	full := filepath.Join(t.root, at)
	wd, err := unix.InotifyAddWatch(t.fd, full, interest)
	if err != nil {
		return fmt.Errorf("watch %s: %w", full, os.NewSyscallError("inotify_add_watch", err))
	}
	id, err := hook.GroupID(full)
	if err != nil {
		return err
	}
	if old, ok := t.dirs[int32(wd)]; ok && old != at {
		delete(t.watch, old)
	}
	t.dirs[int32(wd)], t.watch[at], t.ids[at] = at, int32(wd), id
	each(at, id)
	entries, err := os.ReadDir(full)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			if err := t.look(join(at, e.Name()), each); err != nil && !gone(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// gone tells whether an error says that a group was removed meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }

func join(at, name string) string {
	if at == "/" {
		return "/" + name
	}
	return at + "/" + name
}

// drop forgets the group at path at and all groups below, and calls each for them.
func (t *tree) drop(at string, each func(id uint64)) {
	for p, id := range t.ids {
		if p != at && !strings.HasPrefix(p, at+"/") {
			continue
		}
		if wd, ok := t.watch[p]; ok {
			_, _ = unix.InotifyRmWatch(t.fd, uint32(wd)) // it is gone with its directory
			delete(t.dirs, wd)
		}
		delete(t.watch, p)
		delete(t.ids, p)
		each(id)
	}
}

// place returns the names on the way to a group, and who gave them. An error means that the
// group is gone.
func (t *tree) place(at string) (*place, error) {
	p := &place{}
	dir := t.root
	for name := range strings.SplitSeq(strings.Trim(at, "/"), "/") {
		if name == "" {
			break
		}
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return nil, os.NewSyscallError("lstat", err)
		}
		p.names = append(p.names, name)
		p.givers = append(p.givers, giver{st.Uid, st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0})
		dir = filepath.Join(dir, name)
	}
	return p, nil
}
