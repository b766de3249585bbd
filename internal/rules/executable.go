package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Executable returns the path of a process's program, in the form in which rules name
// programs. If the file was replaced since, for instance by an upgrade, the path stays
// the same. Executable returns "" if the process may not be looked at, or is gone.
func Executable(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)") // the kernel adds this, see proc(5)
}

// IsAt tells whether a process runs the file that this process finds at a path, which is
// that of Executable. If another file has taken its place since, or none, the path is right
// if the file is on the mount that the path's folder is on.
//
// Nothing less will do. In a mount namespace of its own, every user can give every program
// any path, and can then start the program from outside that namespace, too
// (/proc/PID/root). A mount that was taken off the tree shows its own root as that of the
// path.
func IsAt(pid int, path string) bool {
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	runs, err1 := os.Stat(exe)
	there, err2 := os.Stat(path)
	if err1 == nil && err2 == nil && os.SameFile(runs, there) {
		return true
	}
	mount, ok := mountOf(exe)
	folder, found := mountOf(filepath.Dir(path))
	return ok && found && mount == folder
}
