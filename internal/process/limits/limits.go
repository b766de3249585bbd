// Package limits says how many descriptors and how much memory the host lets a daemon
// have. Callers decide how many clients that is enough for. They serve a few in any
// case: a limit that is very low must not stop a daemon.
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

// Files is how many descriptors this process may have; the largest number if that is not
// known.
func Files() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64
	}
	return limit.Cur
}

// Memory is how many bytes of memory this process may use: the least limit of the
// control groups that it is in (cgroups(7)), the maximum if there is none.
func Memory() int64 { return memoryOf("/proc/self/cgroup", "/sys/fs/cgroup") }

// Host is how many bytes of memory the host has, the maximum if that is not known.
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

// memoryOf is the least limit of the control groups that the file self names, the
// maximum if there is none; root is where they are mounted.
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
		// Limits of groups further up count, too. Those above the root of a namespace
		// cannot be seen.
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
