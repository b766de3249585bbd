package proxy

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/socket-intents/mamma/internal/process/limits"
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
	files, memory := limits.Files(), limits.Memory()
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
func byFiles(files uint64) int { return max(leastConns, forConns(files)/2) }

// forConns is how many of a number of descriptors connections may take.
func forConns(files uint64) int {
	files = min(files, 1<<30)
	return max(2*leastConns, int(files-min(otherFiles, files/4)))
}

// byMemory is how many connections an amount of memory allows. A part stays free for
// the kernel's buffers of busy connections.
func byMemory(bytes int64) int {
	n := (bytes - bytes/4 - otherMemory) / connMemory
	return int(min(max(leastConns, n), 1<<30))
}
