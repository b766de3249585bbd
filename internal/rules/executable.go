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
