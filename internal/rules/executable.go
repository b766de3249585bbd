package rules

import (
	"fmt"
	"os"
	"strings"
)

// Executable is the path of the program that a process runs, as rules by program name
// it: a program whose file was replaced since, as by an upgrade, keeps its path. It is
// "" where the process may not be looked at, or is gone.
func Executable(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)") // which the kernel adds, see proc(5)
}
