package testbed

import (
	"errors"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// TB is the part of testing.TB that ForTest needs. Programs that are no tests
// do not link package testing for it.
type TB interface {
	Helper()
	Cleanup(func())
	TempDir() string
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// ForTest makes a test bed that is closed when the test ends, before the test's
// temporary folders are removed: what commands write there goes with them. It
// skips the test if the host cannot make one and RequireEnv is not set; any other
// failure is the test's.
func ForTest(t TB, config Config) *Bed {
	t.Helper()
	b, err := New(config)
	if err != nil {
		SkipOrFail(t, err)
	}
	t.TempDir() // the first has all of them removed, after what is cleaned up from here on
	t.Cleanup(b.Close)
	return b
}

// SkipOrFail ends the test: skipped if err wraps ErrUnavailable and RequireEnv
// is not set, failed otherwise.
func SkipOrFail(t TB, err error) {
	t.Helper()
	if errors.Is(err, ErrUnavailable) {
		required.Lacking(t, "test bed: %v", err)
	}
	t.Fatalf("test bed: %v", err)
}
