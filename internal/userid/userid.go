// Package userid tells which user ids from the kernel really stand for a single user, and
// which group ids for a single group.
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

// usualOverflow is the id that the kernel usually shows for users and groups without an id
// in this process's user namespace (user_namespaces(7)).
const usualOverflow = 65534

// overflowUID and overflowGID return the ids that the kernel shows for them. Root can set
// these (kernel.overflowuid, kernel.overflowgid), which is done when a host is started, if
// at all: they are read once.
var (
	overflowUID = sync.OnceValue(func() uint32 { return readOverflow("/proc/sys/kernel/overflowuid") })
	overflowGID = sync.OnceValue(func() uint32 { return readOverflow("/proc/sys/kernel/overflowgid") })
)

func readOverflow(path string) uint32 {
	text, err := os.ReadFile(path)
	if err != nil {
		return usualOverflow
	}
	return overflowOf(text)
}

func overflowOf(text []byte) uint32 {
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return usualOverflow
	}
	return uint32(id)
}

// Known tells whether a user id from the kernel stands for a single user. In a user
// namespace that lacks some of the host's ids, as in containers, 65534 (or what
// kernel.overflowuid says) stands for all users without an id, and so for nobody in
// particular. The result is also false if that cannot be found out.
func Known(uid uint32) bool { return known(uid, overflowUID, "/proc/self/uid_map") }

// KnownGroup is Known for the id of a group.
func KnownGroup(gid uint32) bool { return known(gid, overflowGID, "/proc/self/gid_map") }

func known(id uint32, overflow func() uint32, ids string) bool {
	if id != usualOverflow && id != overflow() {
		return true
	}
	text, err := os.ReadFile(ids)
	return err == nil && whole(text)
}

// Own tells whether a user id from the kernel is this process's.
func Own(uid uint32) bool { return int64(uid) == int64(os.Geteuid()) && Known(uid) }

// Trusted tells whether a user id from the kernel is root's or this process's.
func Trusted(uid uint32) bool { return uid == 0 || Own(uid) }

// whole tells whether a map of ids (/proc/PID/uid_map) contains all of them.
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
	return n == math.MaxUint32 // (uid_t)-1 is nobody
}
