package rules

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Process is a process that is looked at. Its folder in /proc stays open. The kernel takes
// the folder for that of this process only: nothing more can be read in it once the process
// is gone, even if the process's id is another one's by then (proc(5)). So all that is read
// is about one process. A Process is safe for concurrent use.
type Process struct {
	id     int
	folder *os.File
}

// OpenProcess begins to look at the process that has an id now. Close ends it.
func OpenProcess(pid int) (*Process, error) {
	folder, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		return nil, err
	}
	return &Process{pid, folder}, nil
}

// Close ends looking at the process.
func (p *Process) Close() { _ = p.folder.Close() }

// ID returns the process's id.
func (p *Process) ID() int { return p.id }

// Path returns the path of a file in the process's folder in /proc. It holds until Close.
func (p *Process) Path(name string) string {
	return filepath.Join("/proc/self/fd", strconv.FormatUint(uint64(p.folder.Fd()), 10), name)
}

// Owner returns the user whose rights the process has. ok is false if the process is gone.
func (p *Process) Owner() (uid uint32, ok bool) {
	info, err := p.folder.Stat()
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	// The folder of a process that is gone shows root. A process that is there afterwards
	// was there before.
	if _, err := os.Lstat(p.Path("stat")); err != nil {
		return 0, false
	}
	return st.Uid, true
}

// Executable returns the path of the process's program, in the form in which rules name
// programs. If the file was replaced since, for instance by an upgrade, the path stays
// the same. Executable returns "" if the process may not be looked at, or is gone.
func (p *Process) Executable() string {
	exe, err := os.Readlink(p.Path("exe"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)") // the kernel adds this, see proc(5)
}

// IsAt tells whether the process runs the file that this process finds at a path, which is
// that of Executable. If another file has taken its place since, or none, the path is right
// if the file is on the mount that the path's folder is on.
//
// Nothing less will do. In a mount namespace of its own, every user can give every program
// any path, and can then start the program from outside that namespace, too
// (/proc/PID/root). A mount that was taken off the tree shows its own root as that of the
// path.
func (p *Process) IsAt(path string) bool {
	exe := p.Path("exe")
	runs, err1 := os.Stat(exe)
	there, err2 := os.Stat(path)
	if err1 == nil && err2 == nil && os.SameFile(runs, there) {
		return true
	}
	mount, ok := mountOf(exe)
	folder, found := mountOf(filepath.Dir(path))
	return ok && found && mount == folder
}

// Executable returns what Process.Executable returns for the process that has an id now.
func Executable(pid int) string {
	p, err := OpenProcess(pid)
	if err != nil {
		return ""
	}
	defer p.Close()
	return p.Executable()
}
