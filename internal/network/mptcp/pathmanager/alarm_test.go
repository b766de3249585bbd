package pathmanager

import (
	"testing"
	"testing/synctest"
	"time"
)

// An event of one connection does not postpone what is due for another.
func TestAlarm(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  []time.Duration
		want time.Duration
	}{
		{"the later one second", []time.Duration{time.Second, 130 * time.Second}, time.Second},
		{"the later one first", []time.Duration{130 * time.Second, time.Second}, time.Second},
		{"nothing to wait for", []time.Duration{time.Second, 0}, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAlarm()
				defer a.stop()
				begun := time.Now()
				for _, wait := range tt.set {
					a.set(wait)
				}
				<-a.C
				a.fired()
				if got := time.Since(begun); got != tt.want {
					t.Errorf("due after %v, want %v", got, tt.want)
				}
				a.set(time.Minute)
				<-a.C
				if got := time.Since(begun); got != tt.want+time.Minute {
					t.Errorf("the next one was due after %v, want %v", got, tt.want+time.Minute)
				}
			})
		})
	}
}
