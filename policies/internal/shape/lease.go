package shape

import (
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

const (
	// LeaseFor is how long a decision holds that depends on the candidates only. The
	// manager makes it void when one of them changes, so the time bounds what may go
	// wrong only: how long clients go on by the word of a manager that hangs.
	LeaseFor = 10 * time.Second
	// MeasuredFor is the same of a decision that depends on measurements: the manager
	// makes it void at the next one that says something new. Where there is none,
	// nothing may be measured at all because nobody asks, so it asks again soon.
	MeasuredFor = time.Second
)

// Lease is that of a decision which depends on the candidates, on which of them
// there are idle sockets, and on the given intents.
func Lease(reads ...intent.Option) policy.Lease {
	return policy.Lease{For: LeaseFor, AnyName: true, Ignored: policy.AllIntentsBut(reads...)}
}

// MeasuredLease is Lease, but the decision depends on measurements as well.
func MeasuredLease(reads ...intent.Option) policy.Lease {
	l := Lease(reads...)
	l.For, l.Measured = MeasuredFor, true
	return l
}
