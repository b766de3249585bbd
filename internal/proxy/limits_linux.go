package proxy

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/socket-intents/mamma/internal/process/limits"
)

const (
	// otherFiles is the number of descriptors for other things than connections:
	// listeners, pipes, the manager's socket. With few descriptors it is a quarter of
	// them.
	otherFiles = 256
	// otherMemory is the memory for everything but connections.
	otherMemory = 24 << 20
	// connMemory is what a connection takes, including its sockets in the kernel and
	// some of their buffers.
	connMemory = 24 << 10
	// leastConns is served even if the limits allow fewer.
	leastConns = 8
)

// affordable lowers the number of connections to the number that the limits of
// descriptors and memory allow.
func (p *Proxy) affordable(conns int) int {
	files, memory := limits.Files(), limits.Memory()
	if memory < math.MaxInt64 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory / 2) // so that garbage does not take the memory of connections
	}
	if n := min(byFiles(files), byMemory(memory)); n < conns {
		p.log.Info("the limits of files and memory allow fewer connections than configured", "connections", n, "configured", conns,
			"by_files", byFiles(files), "by_memory", byMemory(memory))
		return n
	}
	return conns
}

// byFiles returns how many connections so many descriptors allow. Each takes two.
func byFiles(files uint64) int { return max(leastConns, forConns(files)/2) }

// forConns returns how many of so many descriptors connections may take.
func forConns(files uint64) int {
	files = min(files, 1<<30)
	return max(2*leastConns, int(files-min(otherFiles, files/4)))
}

// byMemory returns how many connections so much memory allows. A part stays free for
// the kernel's buffers of busy connections.
func byMemory(bytes int64) int {
	n := (bytes - bytes/4 - otherMemory) / connMemory
	return int(min(max(leastConns, n), 1<<30))
}
