package policy

import (
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Lease says that a Decision also holds for further requests, for which ones, and for
// how long. A client that understands leases then makes further connections of the same
// kind without asking, and reports them later, together. The zero value means no lease.
//
// A lease is for requests that agree in all of these: the client, the destination and
// port, the transport, the networks with idle connections, and the intents. Ignored and
// Sizes name the intents that may differ. The manager ends the lease at once when a
// candidate or the configuration changes. So a policy should grant a lease only if it
// would decide alike for all such requests as long as the candidates stay as they are.
// It grants none if the decision changes how it decides next.
//
// The manager drops a lease that could not hold: with Multipath, for a socket that the
// application bound, for a refusal, for an answer with a name's addresses, and while
// something records each decision (LineLogger, a recording).
type Lease struct {
	// For is the time for which the lease holds at most; 0: there is no lease.
	For time.Duration
	// Uses bounds the further connections; 0: any number.
	Uses uint32
	// Bytes bounds the bytes of all further connections together, as their file sizes
	// state; 0: any number. A connection without a stated size counts as nothing.
	Bytes uint64
	// Measured tells that the decision depends on measurements. The lease ends as soon
	// as something new is measured or any network fails.
	Measured bool
	// AnyName tells that the destination's name does not matter. If the request had a
	// name, the lease is then for all names. Addresses always matter, because routes
	// may differ.
	AnyName bool
	// Ignored are the intents that do not matter.
	Ignored IntentMask
	// Sizes are the file sizes that the lease is for. With the zero value, Ignored says
	// whether file sizes matter.
	Sizes SizeRange
}

// IntentMask is a set of intents, without their values. The zero value is empty.
type IntentMask uint32

// MaskOf is the set of the given intents.
func MaskOf(list ...intent.Option) (m IntentMask) {
	for _, o := range list {
		if o >= 0 && o < 32 {
			m |= 1 << o
		}
	}
	return m
}

// AllIntentsBut is the set of all intents except the given ones.
func AllIntentsBut(list ...intent.Option) IntentMask {
	return MaskOf(intent.Options()...) &^ MaskOf(list...)
}

// Has tells whether an intent is in the set.
func (m IntentMask) Has(o intent.Option) bool { return o >= 0 && o < 32 && m&(1<<o) != 0 }

// SizeRange is a range of stated file sizes in bytes, both ends included. The zero
// value means that there is no range.
type SizeRange struct{ From, To int64 }

// IsZero tells whether there is no range.
func (r SizeRange) IsZero() bool { return r == SizeRange{} }

// Alike tells whether the lease also holds for a request with intents b. It was granted
// for a request with intents a.
func (l *Lease) Alike(a, b intent.Set) bool {
	for _, o := range intent.Options() {
		switch {
		case o == intent.OptFileSize && !l.Sizes.IsZero():
			if n, stated := b.FileSize(); !stated || n < l.Sizes.From || n > l.Sizes.To {
				return false
			}
		case l.Ignored.Has(o):
		default:
			va, oka := a.Get(o)
			vb, okb := b.Get(o)
			if va != vb || oka != okb {
				return false
			}
		}
	}
	return true
}
