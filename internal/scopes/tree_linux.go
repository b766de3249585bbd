package scopes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

	dirs   map[int32]string // by watch
	groups map[string]*node // by path from the root
	given  map[uint32]int   // number of known groups that each user has given a name
	// believed tells whether the names that a user gives to groups may count. The groups
	// of others are treated like the group above them, so they are not looked at.
	believed func(uid uint32) bool
	freed    bool                              // a known group has been forgotten since the last call of again
	number   func(path string) (uint64, error) // hook.GroupID; tests have another
}

// node is a control group that the tree knows.
type node struct {
	id    uint64
	watch int32  // -1: none
	owner giver  // who can make groups in it
	by    uint32 // who gave it its name
	short bool   // there was no room for a group in it
	// below are the paths of the known groups in it. Without them, each end of a group would
	// cost a look at all groups of the host.
	below map[string]bool
}

// maxNamed bounds the known groups of a user, and maxAllNamed those of all users
// together. Root and mamma's user have no bound. Without bounds, a user whose names count
// could leave no room for the groups of the system, and these would be in no scope.
const (
	maxNamed    = 1024
	maxAllNamed = 8192
)

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
		dirs: map[int32]string{}, groups: map[string]*node{}, given: map[uint32]int{},
		believed: ours, number: hook.GroupID,
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

// ours tells whether a user's word counts in any case: that of root and of mamma's user.
func ours(uid uint32) bool { return uid == 0 || int64(uid) == int64(os.Geteuid()) }

// errGiven means that a user has made so many groups that others are not looked at.
var errGiven = errors.New("further control groups of this user are treated like those above them")

// maxErrors is how many errors are returned about the groups in one group.
const maxErrors = 4

// look calls each for the group at path at, which begins at the root, and for the groups
// below whose names may count. It calls forget for those that were known, and whose names
// cannot count any more. Watching begins before reading, so that no new group is missed.
func (t *tree) look(at string, each, forget func(path string, id uint64)) error {
	dir := filepath.Join(t.root, at)
	n, err := t.node(at)
	if err != nil {
		return err
	}
	id, err := t.number(dir)
	if err != nil {
		t.drop(at, forget)
		return err
	}
	if n.id != 0 && n.id != id { // an earlier group at the same path, whose end was not seen
		forget(at, n.id)
	}
	n.id = id
	var errs []error
	if err := t.follow(at, n); err != nil {
		if gone(err) {
			t.drop(at, forget)
			return err
		}
		errs = append(errs, err) // the groups that are there now can be looked at all the same
	}
	each(at, n.id)
	n.short = false
	if !t.counts(n.owner) {
		t.dropBelow(at, forget)
		return errors.Join(errs...)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	full := false // there is no room for further groups by the user who can make them here
	for _, e := range entries {
		below := join(at, e.Name())
		if !e.IsDir() || full && t.groups[below] == nil {
			continue
		}
		err := t.look(below, each, forget)
		if err != nil && !gone(err) && len(errs) < maxErrors {
			errs = append(errs, err)
		}
		full = full || errors.Is(err, errGiven) && t.groups[below] == nil
	}
	return errors.Join(errs...)
}

// node returns what is known of a group, and begins to know it.
func (t *tree) node(at string) (*node, error) {
	if n := t.groups[at]; n != nil {
		return n, nil
	}
	by := giver{}
	if at != "/" {
		var err error
		if by, err = giverOf(filepath.Dir(filepath.Join(t.root, at))); err != nil {
			return nil, err
		}
	}
	if !ours(by.uid) && (t.given[by.uid] >= maxNamed || t.others() >= maxAllNamed) {
		if above := t.groups[filepath.Dir(at)]; above != nil {
			above.short = true
		}
		return nil, fmt.Errorf("user %d: %w", by.uid, errGiven)
	}
	n := &node{watch: -1, by: by.uid, below: map[string]bool{}}
	t.groups[at] = n
	if above := t.groups[filepath.Dir(at)]; above != nil && above != n {
		above.below[at] = true
	}
	t.given[by.uid]++
	return n, nil
}

// again looks at the groups for which there was no room, if there may be some now.
func (t *tree) again(each, forget func(path string, id uint64)) error {
	if !t.freed {
		return nil
	}
	t.freed = false
	var short []string
	for at, n := range t.groups {
		if n.short {
			short = append(short, at)
		}
	}
	slices.Sort(short)
	var errs []error
	for _, at := range short {
		if err := t.lookNew(at, each, forget); err != nil && !gone(err) && len(errs) < maxErrors {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lookNew looks at the groups in the known one at path at that are not known themselves, as
// far as there is room.
func (t *tree) lookNew(at string, each, forget func(path string, id uint64)) error {
	n := t.groups[at]
	if n == nil {
		return nil
	}
	n.short = false
	entries, err := os.ReadDir(filepath.Join(t.root, at))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		below := join(at, e.Name())
		if !e.IsDir() || t.groups[below] != nil {
			continue
		}
		err := t.look(below, each, forget)
		if err != nil && !gone(err) && !errors.Is(err, errGiven) && len(errs) < maxErrors {
			errs = append(errs, err)
		}
		if n.short {
			break
		}
	}
	return errors.Join(errs...)
}

// isShort tells whether there was no room for some group.
func (t *tree) isShort() bool {
	for _, n := range t.groups {
		if n.short {
			return true
		}
	}
	return false
}

// others is how many groups have names from others than root and mamma's user.
func (t *tree) others() int {
	sum := 0
	for uid, count := range t.given {
		if !ours(uid) {
			sum += count
		}
	}
	return sum
}

// counts tells whether names may count that can be given by g.
func (t *tree) counts(g giver) bool { return !g.open && t.believed(g.uid) }

// follow finds out who can make groups in a group. If their names count, it watches the
// group, and else it ends that.
func (t *tree) follow(at string, n *node) (err error) {
	full := filepath.Join(t.root, at)
	for {
		if n.owner, err = giverOf(full); err != nil {
			return err
		}
		if !t.counts(n.owner) {
			t.unwatch(n)
			return nil
		}
		wd, err := unix.InotifyAddWatch(t.fd, full, interest)
		if err != nil {
			return fmt.Errorf("watch %s: %w", full, os.NewSyscallError("inotify_add_watch", err))
		}
		if int32(wd) == n.watch {
			return nil
		}
		delete(t.dirs, n.watch) // of an earlier group at the same path
		if old, ok := t.dirs[int32(wd)]; ok && t.groups[old] != nil {
			t.groups[old].watch = -1
		}
		t.dirs[int32(wd)], n.watch = at, int32(wd)
		// The owner may have changed before the watch began.
	}
}

// changed tells whether others than before can make groups in a known group.
func (t *tree) changed(at string) bool {
	n := t.groups[at]
	if n == nil {
		return false
	}
	owner, err := giverOf(filepath.Join(t.root, at))
	return err == nil && owner != n.owner
}

// unwatch ends the watch of a group, which may be gone with its directory already.
func (t *tree) unwatch(n *node) {
	if n.watch >= 0 {
		_, _ = unix.InotifyRmWatch(t.fd, uint32(n.watch))
		delete(t.dirs, n.watch)
		n.watch = -1
	}
}

// giverOf finds out who can make groups in a directory.
func giverOf(dir string) (giver, error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return giver{}, os.NewSyscallError("lstat", err)
	}
	return giver{st.Uid, st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0}, nil
}

// gone tells whether an error says that a group was removed meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }

func join(at, name string) string {
	if at == "/" {
		return "/" + name
	}
	return at + "/" + name
}

// is tells whether the group at path at is the one with an id. After a unit was started anew,
// another one has the same path, which events may not have told yet.
func (t *tree) is(at string, id uint64) bool {
	now, err := t.number(filepath.Join(t.root, at))
	return err == nil && now == id
}

// dropGone forgets the groups that are gone, and calls forget for each. It is for the ones
// whose end was not seen, which would take the room of others.
func (t *tree) dropGone(forget func(path string, id uint64)) {
	for p := range t.groups {
		if _, err := giverOf(filepath.Join(t.root, p)); gone(err) {
			t.dropOne(p, forget)
		}
	}
}

// drop forgets the group at path at and all groups below, and calls forget for each.
func (t *tree) drop(at string, forget func(path string, id uint64)) {
	t.dropBelow(at, forget)
	t.dropOne(at, forget)
}

func (t *tree) dropBelow(at string, forget func(path string, id uint64)) {
	n := t.groups[at]
	if n == nil {
		return
	}
	for p := range n.below {
		t.drop(p, forget)
	}
}

func (t *tree) dropOne(at string, forget func(path string, id uint64)) {
	n := t.groups[at]
	if n == nil {
		return
	}
	t.unwatch(n)
	delete(t.groups, at)
	if above := t.groups[filepath.Dir(at)]; above != nil {
		delete(above.below, at)
	}
	t.freed = true
	if t.given[n.by]--; t.given[n.by] == 0 {
		delete(t.given, n.by)
	}
	forget(at, n.id)
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
		by, err := giverOf(dir)
		if err != nil {
			return nil, err
		}
		p.names, p.givers = append(p.names, name), append(p.givers, by)
		dir = filepath.Join(dir, name)
	}
	return p, nil
}
