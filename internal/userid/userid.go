// Package userid tells which user ids from the kernel really stand for a single user.
package userid

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
)

// usualOverflow is the id that the kernel usually shows for users without an id in this
// process's user namespace (user_namespaces(7)).
const usualOverflow = 65534

// overflow returns the id that the kernel shows for them. Root can set it
// (kernel.overflowuid), which is done when a host is started, if at all: it is read once.
var overflow = sync.OnceValue(func() uint32 {
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return usualOverflow
	}
	return overflowOf(text)
})

func overflowOf(text []byte) uint32 {
	uid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return usualOverflow
	}
	return uint32(uid)
}

// Known tells whether a user id from the kernel stands for a single user. In a user
// namespace that lacks some of the host's ids, as in containers, 65534 (or what
// kernel.overflowuid says) stands for all users without an id, and so for nobody in
// particular. The result is also false if that cannot be found out.
func Known(uid uint32) bool {
	if uid != usualOverflow && uid != overflow() {
		return true
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && whole(text)
}

// Own tells whether a user id from the kernel is this process's.
func Own(uid uint32) bool { return int64(uid) == int64(os.Geteuid()) && Known(uid) }

// Trusted tells whether a user id from the kernel is root's or this process's.
func Trusted(uid uint32) bool { return uid == 0 || Own(uid) }

// whole tells whether a map of user ids (/proc/PID/uid_map) contains all ids.
func whole(text []byte) bool {
	var n uint64
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		f := strings.Fields(sc.Text()) // first id inside, first id outside, number of ids
		if len(f) != 3 {
			return false
		}
		count, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return false
		}
		n += count
	}
	return n == math.MaxUint32 // (uid_t)-1 is not a user
}
