// Package leak fails tests that leave goroutines or sockets behind.
package leak

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// VerifyMain runs the tests and ends the process. It fails if tests have left
// goroutines or sockets behind.
func VerifyMain(m *testing.M) { goleak.VerifyTestMain(leakCheck{m}) }

type leakCheck struct{ m *testing.M }

func (l leakCheck) Run() int {
	before := openSockets()
	code := l.m.Run()
	if after := openSockets(); code == 0 && after > before {
		fmt.Printf("%d sockets are still open\n", after-before)
		return 1
	}
	return code
}

// openSockets counts the sockets of this process. It returns 0 if there is no /proc.
func openSockets() (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
