// Package required ends a test that needs something which the host lacks. The test is
// skipped, or fails if somebody has said that the host must have it.
package required

import (
	"os"
	"slices"
)

// Env is an environment variable. If it is set, to whatever value, tests fail where
// they would otherwise be skipped for lack of namespaces. Set it where namespaces are
// known to work, so that no test is skipped unnoticed.
const Env = "MAMMA_TESTBED_REQUIRED"

// TB is the part of testing.TB that Lacking needs.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Lacking ends a test that needs a namespace, or a permission in one, which it cannot
// have. The test is skipped, or fails if Env is set. The reason of a skip mentions Env.
func Lacking(t TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(Env) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format+" (%s=1 makes this a failure)", append(slices.Clone(args), Env)...)
}
