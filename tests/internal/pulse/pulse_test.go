package pulse

import (
	"testing"
	"testing/synctest"
	"time"
)

// A process that gets the processor whenever it wants is not late.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		time.Sleep(time.Second) // virtual
		if late := p.Stop(); late != 0 {
			t.Errorf("late for %.3f of the time", late)
		}
	})
}
