package rules

import "golang.org/x/sys/unix"

// mountOf returns the number of the mount on which a file is (statx(2)). No other mount of
// the host has it at the same time, in whatever namespace. ok is false if it is not known.
func mountOf(path string) (id uint64, ok bool) {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st) != nil {
		return 0, false
	}
	return st.Mnt_id, st.Mask&unix.STATX_MNT_ID != 0
}
