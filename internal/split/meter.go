package split

import "time"

const (
	// meterSpan is how far back a rate looks: long enough for the bursts of a busy
	// host and of Wi-Fi, short enough to see that a link has changed within a range.
	meterSpan = time.Second
	// meterGrain is how finely it is kept.
	meterGrain = 50 * time.Millisecond
	// minElapsed keeps the first burst from looking like a rate.
	minElapsed = 20 * time.Millisecond
)

// meter measures the rate of a network while requests are under way on it.
type meter struct {
	begun   bool          // data has come since it was last idle
	since   time.Duration // when the first of it came
	samples []sample
	known   float64 // bytes per second, of before; 0: nothing
}

type sample struct {
	at    time.Duration // the beginning of its meterGrain
	bytes int64
}

// add counts bytes that came.
func (m *meter) add(now time.Duration, bytes int64) {
	if !m.begun {
		m.begun, m.since = true, now
		m.samples = m.samples[:0]
	}
	at := now.Truncate(meterGrain)
	if n := len(m.samples); n > 0 && m.samples[n-1].at == at {
		m.samples[n-1].bytes += bytes
	} else {
		m.samples = append(m.samples, sample{at, bytes})
	}
	old := 0
	for old < len(m.samples) && m.samples[old].at <= now-meterSpan-meterGrain {
		old++
	}
	m.samples = m.samples[:copy(m.samples, m.samples[old:])]
}

// rate is in bytes per second, 0 if nothing is known. latency is how long a
// response takes to begin: a window of TCP comes in such a time.
func (m *meter) rate(now, latency time.Duration) float64 {
	if !m.begun {
		return m.known
	}
	var sum int64
	span := max(meterSpan, 2*latency)
	for _, s := range m.samples {
		if s.at > now-span-meterGrain {
			sum += s.bytes
		}
	}
	elapsed := min(now-m.since, span)
	if elapsed < latency && m.known > 0 {
		return m.known
	}
	return float64(sum) / max(elapsed, latency, minElapsed).Seconds()
}

// idle keeps the rate for when the network is next used.
func (m *meter) idle(now, latency time.Duration) {
	if m.begun {
		m.known = m.rate(now, latency)
	}
	m.begun = false
}
