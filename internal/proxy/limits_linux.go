package proxy

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

const (
	// Descriptors for other things than connections: listeners, pipes, the manager's
	// socket. If there are few descriptors, at most a quarter of them.
	otherFiles = 256
	// Memory for everything but connections.
	otherMemory = 24 << 20
	// What a connection takes, with its sockets in the kernel and some of their
	// buffers.
	connMemory = 24 << 10
	// The proxy serves at least so many connections, however low the limits are.
	leastConns = 8
)

// affordable lowers the number of connections to the number that the limits of
// descriptors and memory allow.
func (p *Proxy) affordable(conns int) int {
	files := uint64(math.MaxUint64)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		files = limit.Cur
	}
	memory := memoryLimit("/proc/self/cgroup", "/sys/fs/cgroup")
	if memory < math.MaxInt64 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory / 2) // what is garbage does not cost connections
	}
	if n := min(byFiles(files), byMemory(memory)); n < conns {
		p.log.Info("the limits of files and memory allow fewer connections than configured", "connections", n, "configured", conns,
			"by_files", byFiles(files), "by_memory", byMemory(memory))
		return n
	}
	return conns
}

// byFiles is how many connections a number of descriptors allows. Each takes two.
func byFiles(files uint64) int {
	files = min(files, 1<<30)
	return max(leastConns, int(files-min(otherFiles, files/4))/2)
}

// byMemory is how many connections an amount of memory allows. A part stays free for
// the kernel's buffers of busy connections.
func byMemory(bytes int64) int {
	n := (bytes - bytes/4 - otherMemory) / connMemory
	return int(min(max(leastConns, n), 1<<30))
}

// memoryLimit is the least limit of the control groups that this process is in
// (cgroups(7)), the maximum if there is none. self is the file that says which
// they are, root where they are mounted.
func memoryLimit(self, root string) int64 {
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
