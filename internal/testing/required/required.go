// Package required ends tests for want of what a test bed has: skipped, unless somebody
// says that it must be there.
package required

import (
	"os"
	"slices"
)

// Env is the environment variable that, set to anything, makes tests
// fail where they would be skipped for want of namespaces. It is set where the
// capability is known to exist, so that skips do not hide rot.
const Env = "MAMMA_TESTBED_REQUIRED"

// TB is the part of testing.TB that Lacking needs.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Lacking ends a test for want of a namespace, or of what somebody may do in one: skipped,
// or failed if Env is set. The reason of a skip tells of Env.
func Lacking(t TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(Env) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format+" (%s=1 makes this a failure)", append(slices.Clone(args), Env)...)
}
