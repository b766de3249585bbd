package testbed

import (
	"errors"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// TB is the part of testing.TB that ForTest needs. With it, programs other than tests
// need not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	TempDir() string
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// ForTest makes a test bed for a test. The bed is closed when the test ends, before the
// test's temporary folders are removed, so that no command still writes there. ForTest
// skips the test if the host cannot make a bed and RequireEnv is not set. After any
// other error the test fails.
func ForTest(t TB, config Config) *Bed {
	t.Helper()
	b, err := New(config)
	if err != nil {
		SkipOrFail(t, err)
	}
	t.TempDir() // the first call registers the removal of all folders, which then comes after the clean-up below
	t.Cleanup(b.Close)
	return b
}

// SkipOrFail ends the test. It skips the test if err wraps ErrUnavailable and
// RequireEnv is not set; else the test fails.
func SkipOrFail(t TB, err error) {
	t.Helper()
	if errors.Is(err, ErrUnavailable) {
		required.Lacking(t, "test bed: %v", err)
	}
	t.Fatalf("test bed: %v", err)
}
