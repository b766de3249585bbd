// Package userid tells which user ids that the kernel names can be believed to stand
// for one user.
package userid

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"
)

// overflow is the id that the kernel shows in place of those that have none in this
// process's user namespace (kernel.overflowuid, user_namespaces(7)).
const overflow = 65534

// Known tells whether a user id from the kernel stands for one user. Where the user
// namespace of this process lacks some of the host's ids, as those of containers do,
// 65534 stands for all of them and so for nobody in particular. The answer is false
// too if it cannot be found out.
func Known(uid uint32) bool {
	if uid != overflow {
		return true
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && whole(text)
}

// Own tells whether a user id from the kernel is that of this process.
func Own(uid uint32) bool { return int64(uid) == int64(os.Geteuid()) && Known(uid) }

// Trusted tells whether a user id from the kernel is root's or that of this process.
func Trusted(uid uint32) bool { return uid == 0 || Own(uid) }

// whole tells whether a map of user ids (/proc/PID/uid_map) holds all there are.
func whole(text []byte) bool {
	var n uint64
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		f := strings.Fields(sc.Text()) // first inside, first outside, how many
		if len(f) != 3 {
			return false
		}
		count, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return false
		}
		n += count
	}
	return n == math.MaxUint32 // (uid_t)-1 is no user
}
