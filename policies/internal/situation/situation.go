// Package situation has what tests of several policies share besides the public package
// policytest: the two networks of the recorded vectors, and intents and measurements in
// the units of these vectors.
package situation

import (
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// RTT sets the minimum and the median round-trip time in milliseconds, and the number
// of connections.
func RTT(minimum, median float64, conns int) func(*policy.Prefix) {
	return policytest.RoundTrip(Milliseconds(minimum), Milliseconds(median), conns)
}

// Quality sets by how much round-trip times vary, in milliseconds, and the loss from 0 to 1.
func Quality(jitter, loss float64) func(*policy.Prefix) {
	return func(p *policy.Prefix) { p.Stats.RTTVarMedian, p.Stats.LossUp = Milliseconds(jitter), loss }
}

// Down sets the highest recent and the current download rate in bytes per second.
func Down(highest, current policy.BytesPerSecond) func(*policy.Prefix) {
	return policytest.Download(highest, current)
}

// SMA sets the maxima of the smoothed download rate over the four windows.
func SMA(short, mid, long, veryLong policy.BytesPerSecond) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Link.Time = policytest.Now()
		p.Link.DownSMAMax = policy.Windowed{Short: short, Mid: mid, Long: long, VeryLong: veryLong}
	}
}

// Milliseconds converts a figure of the vectors.
func Milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// A is a prefix of situation S (doc/original/policies.md 9): it is the default, has a
// short round-trip time, and is in use. B is idle and has five times the capacity.
func A(edits ...func(*policy.Prefix)) *policy.Prefix {
	return policytest.Prefix("a", "10.0.1.2/24", append([]func(*policy.Prefix){policytest.Default, RTT(20, 25, 2), Down(1250000, 100000)}, edits...)...)
}

// B is the other prefix of situation S.
func B(edits ...func(*policy.Prefix)) *policy.Prefix {
	return policytest.Prefix("b", "10.0.2.2/24", append([]func(*policy.Prefix){RTT(50, 60, 0), Down(6250000, 0)}, edits...)...)
}

// A6 is A with an IPv6 address.
func A6(edits ...func(*policy.Prefix)) *policy.Prefix { return six(A(edits...), "2001:db8:1::2/64") }

// B6 is B with an IPv6 address.
func B6(edits ...func(*policy.Prefix)) *policy.Prefix { return six(B(edits...), "2001:db8:2::2/64") }

func six(p *policy.Prefix, addr string) *policy.Prefix {
	q := policytest.Prefix(p.Interface, addr)
	p.ID, p.CIDR, p.Addrs = q.ID, q.CIDR, q.Addrs
	return p
}

// With states intents, given as pairs of option and value.
func With(r *policy.Request, pairs ...int64) *policy.Request {
	for i := 0; i < len(pairs); i += 2 {
		r.Intents = r.Intents.With(intent.Option(pairs[i]), pairs[i+1])
	}
	return r
}

// Size states the file size.
func Size(r *policy.Request, bytes int64) *policy.Request {
	r.Intents = r.Intents.WithFileSize(bytes)
	return r
}

// OverTLS makes r a request for service 443.
func OverTLS(r *policy.Request) *policy.Request {
	r.Service, r.Port = "443", 443
	return r
}
