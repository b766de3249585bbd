// Package predict holds the arithmetic that several policies share: metrics under the
// original's names, choosers by one metric, estimates of the capacity that a new
// transfer would get, and predictions of its completion time.
//
// The formulas are those of doc/original/policies.md sections 3.1 to 3.5. They were
// taken from the original's policies and checked against them. Integers have 64 bits
// here, so that they do not overflow.
//
// Every function of the package is pure.
package predict

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// InitialWindow is what a new TCP connection sends in its first round trip: ten
// segments of 1448 bytes (RFC 6928).
const InitialWindow = 14480

// Millis is a time in milliseconds, the unit of the original's computations.
type Millis float64

// Unknown is the time of a transfer that cannot be predicted.
const Unknown Millis = math.MaxFloat64

// Known tells whether m is a time and not Unknown.
func (m Millis) Known() bool { return m < Unknown }

// Duration converts m to a time.Duration. An unknown time, and one that is not above 0,
// gives 0. A time that is too long gives the longest Duration.
func (m Millis) Duration() time.Duration {
	ns := float64(m) * float64(time.Millisecond)
	switch {
	case !m.Known() || !(m > 0):
		return 0
	case ns >= math.MaxInt64:
		return math.MaxInt64
	}
	return time.Duration(math.Round(ns))
}

// Transfer is the prediction for a transfer over a new connection.
type Transfer struct {
	Time   Millis
	Rounds int                   // round trips of slow start
	Limit  int64                 // bytes per round trip at which slow start would have filled the path
	Rest   int64                 // bytes left when slow start ends
	Rate   policy.BytesPerSecond // rate at which the rest is sent
}

// NewConnection predicts a transfer of size bytes over a new connection: the TCP
// handshake, two round trips of TLS 1.2 if tls, slow start up to 80 % of the
// bandwidth-delay product, and the rest at the rate reached by then (new_time of
// doc/original/policies.md 3.5). bandwidth and rtt must be above 0.
//
// No final round trip is added. If the path is too short for slow start, the rate is
// still at most one initial window per round trip.
func NewConnection(size int64, bandwidth policy.BytesPerSecond, rtt Millis, tls bool) Transfer {
	var t Transfer
	start := rtt
	if tls {
		start += 2 * rtt
	}
	t.Limit = truncate(float64(bandwidth) * 0.8 * (float64(rtt) / 1000))
	chunk := int64(InitialWindow)
	t.Rest = max(size, math.MinInt64/2) // prevents an overflow below, whatever size a client states
	if chunk < t.Limit {
		t.Rest -= chunk
		t.Rounds = 1
		for t.Rest > 0 && chunk < t.Limit/2 {
			t.Rounds++
			chunk *= 2
			t.Rest -= chunk
		}
		t.Rest = max(t.Rest, 0)
	}
	t.Rate = min(policy.BytesPerSecond(float64(chunk)/(float64(rtt)/1000)), bandwidth)
	t.Time = start + Millis(t.Rounds)*rtt + Millis(1000*float64(t.Rest)/float64(t.Rate))
	return t
}

// ReusedConnection predicts a transfer of size bytes over an idle connection:
// one round trip, then the whole bandwidth (reuse_time of doc/original/policies.md 3.5).
func ReusedConnection(size int64, bandwidth policy.BytesPerSecond, rtt Millis) Millis {
	return rtt + Millis(1000*float64(size)/float64(bandwidth))
}

// Completion predicts when a transfer of size bytes would be complete. It returns
// Unknown if the capacity or the round-trip time is not usable (predict of
// doc/original/policies.md 3.5). With reuse, tls is ignored.
func Completion(size int64, capacity policy.BytesPerSecond, rtt Millis, reuse, tls bool) Millis {
	if !(capacity > Epsilon) || !(rtt > Epsilon) {
		return Unknown
	}
	t := ReusedConnection(size, capacity, rtt)
	if !reuse {
		t = NewConnection(size, capacity, rtt, tls).Time
	}
	if !t.Known() { // a setting has made the figures absurd
		return Unknown
	}
	return t
}

// TLS tells whether a request is assumed to use TLS. That is so if its service is
// "443". The name "https" does not count, as in the original.
func TLS(r *policy.Request) bool { return r.Service == "443" }

// truncate cuts a non-negative number to an integer that can still be doubled.
func truncate(f float64) int64 {
	if f >= math.MaxInt64/4 {
		return math.MaxInt64 / 4
	}
	return int64(f)
}
