package policy

import (
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Lease says for which further requests, and for how long, a Decision holds. A client
// that understands leases then makes further connections of the same kind without
// asking, and reports them together, later. The zero value is no lease.
//
// A lease is for the same client, the same destination and port, the same transport,
// the same networks with idle connections, and, but for Ignored and Sizes, the same
// intents. The manager makes it void at once when a candidate, or anything of
// the configuration, changes: a policy must grant one only if it would decide alike
// for all such requests as long as the candidates stay what they are. It grants none
// for a decision that changes what it decides next.
//
// The manager does not pass a lease on where it could not hold: with Multipath, for
// a socket that the application bound, for a refusal, in place of a name's addresses,
// and while something records each decision (LineLogger, a recording).
type Lease struct {
	// For is how long it holds at most; 0: there is no lease.
	For time.Duration
	// Uses is how many further connections it is for; 0: any number.
	Uses uint32
	// Bytes is how many bytes these may be for together, by the file sizes that they
	// state; one that states none counts for nothing. 0: any number.
	Bytes uint64
	// Measured tells that the decision depends on measurements: the lease is void as
	// soon as something new was measured, or any network has failed.
	Measured bool
	// AnyName tells that the name of the destination does not matter. The lease is
	// for all names then, if the request had one. (An address matters always:
	// routes may differ.)
	AnyName bool
	// Ignored are the intents that do not matter.
	Ignored IntentMask
	// Sizes are the file sizes for which it holds. The zero value leaves that to
	// Ignored.
	Sizes SizeRange
}

// IntentMask is a set of intents, whatever their values. The zero value is empty.
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
// value is none.
type SizeRange struct{ From, To int64 }

// IsZero tells whether r is none.
func (r SizeRange) IsZero() bool { return r == SizeRange{} }

// Alike tells whether a request with the intents b is alike one with the intents a
// for which the lease was granted.
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
