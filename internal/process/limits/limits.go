// Package limits tells how many descriptors and how much memory the host gives a daemon.
// Callers decide how many clients these are enough for. They serve a few clients in any
// case, because a very low limit must not stop a daemon.
package limits

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Files returns how many descriptors this process may have. It returns the largest
// number if that is not known.
func Files() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64
	}
	return limit.Cur
}

// Memory returns how many bytes of memory this process may use. That is the lowest limit
// of its control groups (cgroups(7)), or the largest number if there is no limit.
func Memory() int64 { return memoryOf("/proc/self/cgroup", "/sys/fs/cgroup") }

// Host returns how many bytes of memory the host has. It returns the largest number if
// that is not known.
func Host() int64 {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return math.MaxInt64
	}
	n := uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits on some architectures
	if n == 0 || n > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n)
}

// memoryOf returns the lowest limit of the control groups that the file self names, or
// the largest number if there is no limit. The groups are mounted at root.
func memoryOf(self, root string) int64 {
	least := int64(math.MaxInt64)
	text, err := os.ReadFile(self) //nolint:gosec // the kernel's
	if err != nil {
		return least
	}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		f := strings.SplitN(sc.Text(), ":", 3) // number, controllers, path
		if len(f) != 3 {
			continue
		}
		dir, file := root, "memory.max"
		if f[1] != "" { // version 1
			if !strings.Contains(","+f[1]+",", ",memory,") {
				continue
			}
			dir, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		}
		// Limits of the groups above count, too. Groups above the root of a control
		// group namespace cannot be seen.
		for path := filepath.Clean("/" + f[2]); ; path = filepath.Dir(path) {
			if b, err := os.ReadFile(filepath.Join(dir, path, file)); err == nil { //nolint:gosec // the kernel's
				if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 { // or "max"
					least = min(least, n)
				}
			}
			if path == "/" {
				break
			}
		}
	}
	return least
}
