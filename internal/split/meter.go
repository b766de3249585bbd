package split

import "time"

const (
	// meterSpan is the time over which a rate is measured. It is long enough to average
	// the bursts of a busy host or of Wi-Fi, and short enough to notice within a range
	// that a link has changed.
	meterSpan = time.Second
	// meterGrain is the resolution of the stored amounts.
	meterGrain = 50 * time.Millisecond
	// minElapsed is the least time that counts, so that the first burst does not look
	// like a rate.
	minElapsed = 20 * time.Millisecond
)

// meter measures the rate of a network while requests are under way on it.
type meter struct {
	begun   bool          // data has come since the network was last idle
	since   time.Duration // when the first of these data came
	samples []sample
	known   float64 // bytes per second, from before the network was idle; 0: unknown
}

type sample struct {
	at    time.Duration // beginning of the interval of meterGrain
	bytes int64
}

// add counts bytes that have come.
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

// rate returns the rate in bytes per second, 0 if unknown. latency is the time until a
// response begins; TCP brings one window in such a time.
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

// idle stores the rate for the next use of the network.
func (m *meter) idle(now, latency time.Duration) {
	if m.begun {
		m.known = m.rate(now, latency)
	}
	m.begun = false
}
