package required

import (
	"fmt"
	"testing"
)

// recorder notes how a test ends.
type recorder struct{ how string }

func (*recorder) Helper()                          {}
func (r *recorder) Skipf(format string, a ...any)  { r.how += "skipped: " + fmt.Sprintf(format, a...) }
func (r *recorder) Fatalf(format string, a ...any) { r.how += "failed: " + fmt.Sprintf(format, a...) }

func TestLacking(t *testing.T) {
	for env, want := range map[string]string{
		"": "skipped: needs a namespace: no (MAMMA_TESTBED_REQUIRED=1 makes this a failure)", "1": "failed: needs a namespace: no",
	} {
		t.Setenv(Env, env)
		var r recorder
		if Lacking(&fatal{&r}, "needs a %s: %v", "namespace", "no"); r.how != want {
			t.Errorf("%q: %s, want %s", env, r.how, want)
		}
	}
}

// fatal ends at the first of both, as testing.T does.
type fatal struct{ *recorder }

func (f *fatal) Skipf(format string, a ...any) {
	if f.how == "" {
		f.recorder.Skipf(format, a...)
	}
}
