package placement

import "testing"

// As many calls as there are receivers are handled at once. When they are over, only a
// few receivers are left.
func TestReceivers(t *testing.T) {
	r, started := newReceiving(), 0
	r.start = func() { started++ }
	for n := range receivers + 1 {
		if r.waiting == 0 != (n == receivers) {
			t.Fatalf("%d wait for a call while %d are handled", r.waiting, n)
		}
		if n < receivers {
			r.busy()
		}
	}
	if started != receivers-idle {
		t.Errorf("%d were started, want %d", started, receivers-idle)
	}
	ended := 0
	for range receivers {
		if r.enough() {
			ended++
		}
	}
	if r.waiting != idle || r.all != idle || ended != receivers-idle {
		t.Errorf("%d of %d wait, and %d have ended; want %d, %d and %d", r.waiting, r.all, ended, idle, idle, receivers-idle)
	}
}
