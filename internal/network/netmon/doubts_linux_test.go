package netmon

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A report counts at once after a rest. Those that follow count once, and none is forgotten.
func TestDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d doubts
		var counted atomic.Int64
		report := func() {
			if d.due(time.Now(), func() { counted.Add(1) }) {
				counted.Add(1)
			}
		}
		expect := func(what string, want int64) {
			t.Helper()
			if synctest.Wait(); counted.Load() != want {
				t.Errorf("%s: %d counted, want %d", what, counted.Load(), want)
			}
			counted.Store(0)
		}
		report()
		expect("the first report", 1)
		for range 100 * 50 {
			time.Sleep(refresh / 50)
			report()
		}
		expect("100 periods", 100)
		time.Sleep(2 * refresh)
		counted.Store(0)
		report()
		expect("after a rest", 1)
		report()
		expect("right after that", 0)
		time.Sleep(refresh)
		expect("later", 1)
		report()
		d.end()
		time.Sleep(2 * refresh)
		expect("after the end", 0)
	})
}
