package rules

import (
	"fmt"
	"os"
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
// that of Executable. In a mount namespace of its own, every user can give every program
// any path. If the process has this process's mounts, the path is right even if another
// file has taken its place since.
func IsAt(pid int, path string) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	runs, err1 := os.Stat(dir + "/exe")
	there, err2 := os.Stat(path)
	if err1 == nil && err2 == nil && os.SameFile(runs, there) {
		return true
	}
	own, err1 := os.Readlink("/proc/self/ns/mnt")
	theirs, err2 := os.Readlink(dir + "/ns/mnt")
	return err1 == nil && err2 == nil && own == theirs
}
