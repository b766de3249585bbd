package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/process/cgroup"
	"github.com/socket-intents/mamma/internal/scopes/pins"
)

// Attachment is what a Table has attached. It is not safe for concurrent use.
type Attachment struct {
	pins  string // directory that keeps the links; "": the programs end with this process
	lock  *os.File
	links map[string]link.Link
}

// Attach makes the programs of t run for all control groups below group, a directory of
// cgroup2. Programs that others have attached there keep running.
//
// dir is a directory of a BPF file system that keeps the programs running after this process.
// If an earlier process has kept programs in dir, Attach replaces them one by one, so that no
// hook is without its program at any moment. If dir is "", the programs end with this
// process. If dir cannot be used, the error wraps pins.ErrUnusable. If the reason is that
// another process uses dir, the error also wraps pins.ErrInUse.
//
// measure tells whether connections are measured, too, where the kernel can do that; see Flows.
func (t *Table) Attach(group, dir string, measure bool) (_ *Attachment, err error) {
	a := &Attachment{pins: dir, links: map[string]link.Link{}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if dir != "" {
		if a.lock, err = pins.Open(dir); err != nil {
			return nil, err
		}
	}
	at, err := os.Open(group)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	defer at.Close() //nolint:errcheck // only read
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(at.Fd()), &fs); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%s is not a directory of cgroup2: %w", group, ErrUnsupported)
	}
	id, err := GroupID(group)
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Concat(points, []point{measuring}) {
		prog := t.programs[p.name]
		if p.name == measuring.name && !measure {
			prog = nil
		}
		path := filepath.Join(dir, p.name)
		if prog == nil {
			if dir != "" {
				_ = os.Remove(path)
			}
			continue
		}
		if dir != "" {
			if old := kept(path, p, id); old != nil {
				if err := old.Update(prog); err == nil {
					a.links[p.name] = old
					continue
				}
				_ = old.Close()
			}
		}
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(at.Fd()), Program: prog, Attach: p.attach})
		if err != nil {
			return nil, lacking("attach "+p.name+" to "+group, err)
		}
		a.links[p.name] = l
		if dir == "" {
			continue
		}
		// If there is an old link at path, it could not be updated: it is for another
		// group, or another version of mamma made it. Removing its file ends the link.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", pins.ErrUnusable, err)
		}
		if err := l.Pin(path); err != nil {
			return nil, fmt.Errorf("%w: keep %s: %w", pins.ErrUnusable, p.name, err)
		}
	}
	return a, nil
}

// kept opens the link that an earlier process has kept at path. It returns nil if there is
// none, or if the link is for another hook or another group.
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

// AttachMultipath makes the kernel make sockets of Multipath TCP as scopes say, after
// [Table.LoadMultipath]. A program of an earlier process is replaced.
func (a *Attachment) AttachMultipath(t *Table) error {
	if a.links[making.name] != nil {
		return nil
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: t.programs[making.name], AttachType: making.attach})
	if err != nil {
		return lacking("attach to "+makingFunction, err)
	}
	if a.pins != "" {
		path := filepath.Join(a.pins, making.name)
		_ = os.Remove(path)
		if err := l.Pin(path); err != nil {
			_ = l.Close()
			return fmt.Errorf("%w: keep %s: %w", pins.ErrUnusable, making.name, err)
		}
	}
	a.links[making.name] = l
	return nil
}

// DetachMultipath undoes AttachMultipath, also that of an earlier process.
func (a *Attachment) DetachMultipath() {
	if a.pins != "" {
		_ = os.Remove(filepath.Join(a.pins, making.name))
	}
	if l := a.links[making.name]; l != nil {
		_ = l.Close()
		delete(a.links, making.name)
	}
}

// Hooks names the hooks at which programs run.
func (a *Attachment) Hooks() []string {
	var names []string
	for _, p := range slices.Concat(points, []point{making}) {
		if a.links[p.name] != nil {
			names = append(names, p.name)
		}
	}
	return names
}

// Measures tells whether connections are measured.
func (a *Attachment) Measures() bool { return a.links[measuring.name] != nil }

// Kept tells whether the programs run on after this process.
func (a *Attachment) Kept() bool { return a.pins != "" }

// Detach takes the programs out of the kernel.
func (a *Attachment) Detach() error {
	var err error
	if a.pins != "" {
		err = pins.Remove(a.pins)
	}
	a.Close()
	return err
}

// Close closes the links. Programs whose links are kept in a directory run on.
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

// GroupID returns the kernel's ID of a control group.
func GroupID(path string) (uint64, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return 0, fmt.Errorf("ID of control group %s: %w", path, err)
	}
	if h.Size() != 8 {
		return 0, fmt.Errorf("ID of control group %s: the file handle has %d bytes, not 8", path, h.Size())
	}
	return binary.NativeEndian.Uint64(h.Bytes()), nil
}

// ownGroupID returns the kernel's ID of the control group of this process.
func ownGroupID() (uint64, error) {
	mount, err := cgroup.Mount()
	if err != nil {
		return 0, err
	}
	return GroupID(filepath.Join(mount, cgroup.Own()))
}
