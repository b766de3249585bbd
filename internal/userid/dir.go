//go:build unix

package userid

import (
	"os"
	"syscall"
)

// OwnDir tells whether path is a directory of this process's user, in which nobody else can put
// anything. A link to one is not. It is for well-known paths below directories such as /tmp,
// where anybody may have made something first.
func OwnDir(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && Own(st.Uid)
}
