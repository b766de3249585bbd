package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// DefaultPins is where links are kept where nothing else is said.
const DefaultPins = "/sys/fs/bpf/mamma"

// ErrInUse means that another process keeps its links in the same directory.
var ErrInUse = errors.New("another mamma keeps its links there")

// Attachment is what a Table has attached. Its methods must not be called by two at once.
type Attachment struct {
	pins  string // "": what is attached ends with this process
	lock  *os.File
	links map[string]link.Link
}

// Attach has the programs of t run for all control groups below group, a directory of
// cgroup2. They run beside those of others, which are not touched.
//
// pins is a directory of a BPF file system that keeps them running after this process.
// What an earlier process has kept there is replaced hook by hook, so that there is no
// moment without. If pins is "", they end with this process. If it cannot be used, the
// error wraps ErrPins.
func (t *Table) Attach(group, pins string) (_ *Attachment, err error) {
	a := &Attachment{pins: pins, links: map[string]link.Link{}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if pins != "" {
		if a.lock, err = openPins(pins); err != nil {
			return nil, err
		}
	}
	dir, err := os.Open(group)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%s is no directory of cgroup2: %w", group, ErrUnsupported)
	}
	id, err := GroupID(group)
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		prog := t.programs[p.name]
		path := filepath.Join(pins, p.name)
		if prog == nil {
			if pins != "" {
				_ = os.Remove(path)
			}
			continue
		}
		if pins != "" {
			if old := kept(path, p, id); old != nil {
				if err := old.Update(prog); err == nil {
					a.links[p.name] = old
					continue
				}
				_ = old.Close()
			}
		}
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(dir.Fd()), Program: prog, Attach: p.attach})
		if err != nil {
			return nil, lacking("attach "+p.name+" to "+group, err)
		}
		a.links[p.name] = l
		if pins == "" {
			continue
		}
		// What was kept there for another group, or by another version, ends here.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrPins, err)
		}
		if err := l.Pin(path); err != nil {
			return nil, fmt.Errorf("%w: keep %s: %w", ErrPins, p.name, err)
		}
	}
	return a, nil
}

// ErrPins means that the directory for links cannot be used.
var ErrPins = errors.New("links cannot be kept")

// openPins makes the directory for links, and takes it for this process. It must be ours
// alone: who can write there can have other programs take our place.
func openPins(pins string) (*os.File, error) {
	made := os.Mkdir(pins, 0o700)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return nil, fmt.Errorf("%w: %w", ErrPins, made)
	}
	f, err := os.OpenFile(pins, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPins, err)
	}
	if err := usable(f); err != nil {
		_ = f.Close()
		if made == nil {
			_ = os.Remove(pins)
		}
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("%w in %s: %w", ErrPins, pins, err)
	}
	return f, nil
}

func usable(f *os.File) error {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &st), unix.Fstatfs(int(f.Fd()), &fs)); err != nil {
		return fmt.Errorf("%w: %w", ErrPins, err)
	}
	switch {
	case fs.Type != unix.BPF_FS_MAGIC:
		return fmt.Errorf("%w: %s is not in a BPF file system (mount -t bpf bpf %s)", ErrPins, f.Name(), filepath.Dir(f.Name()))
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to user %d", ErrPins, f.Name(), st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%w: others can write to %s", ErrPins, f.Name())
	}
	return nil
}

// kept opens a link of an earlier process if it is for this hook and group.
func kept(path string, p point, group uint64) link.Link {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil
	}
	info, err := l.Info()
	if err == nil {
		if c := info.Cgroup(); c != nil && c.CgroupId == group && uint32(c.AttachType) == uint32(p.attach) {
			return l
		}
	}
	_ = l.Close()
	return nil
}

// Hooks names the hooks at which programs run.
func (a *Attachment) Hooks() []string {
	var names []string
	for _, p := range points {
		if a.links[p.name] != nil {
			names = append(names, p.name)
		}
	}
	return names
}

// Kept tells whether the programs go on after this process.
func (a *Attachment) Kept() bool { return a.pins != "" }

// Detach ends what is attached.
func (a *Attachment) Detach() error {
	var err error
	if a.pins != "" {
		err = remove(a.pins)
	}
	a.Close()
	return err
}

// Close lets go of the links. Those that are kept go on.
func (a *Attachment) Close() {
	for _, l := range a.links {
		_ = l.Close()
	}
	a.links = map[string]link.Link{}
	if a.lock != nil {
		_ = a.lock.Close()
		a.lock = nil
	}
}

// Detach ends what an earlier process has kept in the directory pins. It tells whether there
// was something. If a process is at work with it, the error wraps ErrInUse.
func Detach(pins string) (found bool, err error) {
	if _, err := os.Lstat(pins); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	lock, err := openPins(pins)
	if err != nil {
		return false, err
	}
	defer lock.Close() //nolint:errcheck // only read
	entries, err := lock.ReadDir(-1)
	if err != nil {
		return false, err
	}
	return len(entries) > 0, remove(pins)
}

// remove removes our links and their directory.
func remove(pins string) error {
	var errs []error
	for _, p := range points {
		if err := os.Remove(filepath.Join(pins, p.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(pins); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// GroupID is the kernel's number of a control group.
func GroupID(path string) (uint64, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return 0, fmt.Errorf("number of control group %s: %w", path, err)
	}
	if h.Size() != 8 {
		return 0, fmt.Errorf("number of control group %s: a handle of %d bytes", path, h.Size())
	}
	return binary.NativeEndian.Uint64(h.Bytes()), nil
}

// Mount is where cgroup2 is mounted.
func Mount() (string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return unescape(f[1]), nil
		}
	}
	return "", fmt.Errorf("cgroup2 is not mounted: %w", ErrUnsupported)
}

// unescape reads a path of /proc/self/mounts (getmntent(3)).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
