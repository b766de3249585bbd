package pathmanager

import "time"

// alarm is a timer for several causes, of which the first counts. Whoever handles it looks at
// all of them, and sets it anew.
type alarm struct {
	C     <-chan time.Time
	timer *time.Timer
	at    time.Time // when it is due; zero: it is not set
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{C: t.C, timer: t}
}

// set makes the alarm due after wait, unless it is due sooner. A wait of 0 sets nothing.
func (a *alarm) set(wait time.Duration) {
	if at := time.Now().Add(wait); wait > 0 && (a.at.IsZero() || at.Before(a.at)) {
		a.at = at
		a.timer.Reset(wait)
	}
}

// fired notes that something came from C.
func (a *alarm) fired() { a.at = time.Time{} }

func (a *alarm) stop() { a.timer.Stop() }
