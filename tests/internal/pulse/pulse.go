// Package pulse tells how busy a machine was while something was measured on it.
package pulse

import "time"

const (
	// beat is how often a pulse is felt.
	beat = 2 * time.Millisecond
	// TooLate is from which share of lost time on a measurement says more about the
	// machine than about what was measured.
	TooLate = 0.05
)

// Pulse finds out how long this process had to wait for the processor, which also
// emulates the links: a timer that fires late shows it.
type Pulse struct {
	end  chan struct{}
	late chan float64
}

// New begins to feel.
func New() *Pulse {
	p := &Pulse{end: make(chan struct{}), late: make(chan float64)}
	go p.feel()
	return p
}

func (p *Pulse) feel() {
	timer := time.NewTimer(beat)
	defer timer.Stop()
	begun := time.Now()
	last, lost := begun, time.Duration(0)
	for {
		select {
		case <-p.end:
			p.late <- lost.Seconds() / max(time.Since(begun), beat).Seconds()
			return
		case <-timer.C:
		}
		now := time.Now()
		lost += max(0, now.Sub(last)-2*beat) // timers are not more exact
		last = now
		timer.Reset(beat)
	}
}

// Stop ends it, and returns the share of time that was lost.
func (p *Pulse) Stop() float64 {
	close(p.end)
	return <-p.late
}
