package shape

import (
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

const (
	// LeaseFor is how long a decision holds that depends on the candidates only. The
	// manager ends it when a candidate changes. So the time matters only if the manager
	// hangs: it bounds how long clients then go on without it.
	LeaseFor = 10 * time.Second
	// MeasuredFor is how long a decision holds that depends on measurements. The
	// manager ends it when a measurement says something new. The time is short because
	// nothing may be measured while no client asks.
	MeasuredFor = time.Second
)

// Lease returns the lease of a decision that depends on the candidates, on which of
// them have idle sockets, and on the given intents.
func Lease(reads ...intent.Option) policy.Lease {
	return policy.Lease{For: LeaseFor, AnyName: true, Ignored: policy.AllIntentsBut(reads...)}
}

// MeasuredLease is Lease for a decision that depends on measurements as well.
func MeasuredLease(reads ...intent.Option) policy.Lease {
	l := Lease(reads...)
	l.For, l.Measured = MeasuredFor, true
	return l
}
