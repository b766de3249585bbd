// Package intent holds the vocabulary of Socket Intents: the options an
// application may state about a connection, their values, and a Set of them.
//
// It is a leaf that policies and clients share, values only. How intents are
// written as text and travel in a context.Context is package client's business;
// how they travel to the daemon is internal/wire's.
//
// Intents are hints. They never guarantee and never forbid anything, and
// nothing in this package checks whether a value makes sense.
package intent

import (
	"iter"
	"math"
)

// Level is the socket option level of Socket Intents, SOL_INTENTS in the
// original's headers. The kernel knows no such level.
const Level = 300

// Option is the number of an intent, as on the wire.
type Option int32

// The seven intents, numbered as in the original's lib/intents.h.
const (
	OptCategory   Option = 1 + iota // a Category
	OptFileSize                     // bytes expected to be transferred
	OptDuration                     // see Set.WithDurationSeconds for its units
	OptBitrate                      // see Set.WithBitrateBytesPerSecond for its units
	OptBurstiness                   // a Burstiness
	OptTimeliness                   // a Timeliness
	OptResilience                   // a Resilience
)

// numOptions counts the intents; Set relies on their numbers being 1 to numOptions.
const numOptions = 7

// Valid tells whether o is one of the seven intents.
func (o Option) Valid() bool { return o >= 1 && o <= numOptions }

// String gives the lower-case name that text forms use, "intent(N)" for an unknown number.
func (o Option) String() string {
	return name(int64(o), "intent", "intent(0)", "category", "filesize", "duration", "bitrate", "burstiness", "timeliness", "resilience")
}

// Category says what kind of communication a connection carries.
type Category int32

// The categories, numbered as in the original.
const (
	Query          Category = iota // a brief exchange of little data
	BulkTransfer                   // much data in little time: high rate, bursts
	ControlTraffic                 // long, adds up to much data: low rate, bursts
	KeepAlives                     // long, little data: low, even rate
	Stream                         // long, much data: high, even rate
)

func (c Category) String() string {
	return name(int64(c), "category", "query", "bulktransfer", "controltraffic", "keepalives", "stream")
}

// Burstiness says how the packets are spread over time.
type Burstiness int32

// The kinds of burstiness, numbered as in the original.
const (
	RandomBursts  Burstiness = iota // bursts at random times
	RegularBursts                   // bursts at regular times
	NoBursts                        // an even flow
	Bulk                            // as fast as the congestion window allows
)

func (b Burstiness) String() string {
	return name(int64(b), "burstiness", "randombursts", "regularbursts", "nobursts", "bulk")
}

// Timeliness says what delay and jitter mean to the application.
type Timeliness int32

// The kinds of timeliness, numbered as in the original.
const (
	Streaming         Timeliness = iota // small delay and small jitter
	Interactive                         // small delay
	Transfer                            // it just has to finish
	BackgroundTraffic                   // hardly any time limit
)

func (t Timeliness) String() string {
	return name(int64(t), "timeliness", "streaming", "interactive", "transfer", "backgroundtraffic")
}

// Resilience says what a lost connection means to the application.
type Resilience int32

// The kinds of resilience, numbered as in the original.
const (
	Sensitive Resilience = iota // fatal
	Tolerant                    // annoying
	Resilient                   // harmless
)

func (r Resilience) String() string {
	return name(int64(r), "resilience", "sensitive", "tolerant", "resilient")
}

// Set is what an application said about one connection: at most one value per
// intent, kept as the raw integers of the wire. The zero value says nothing.
// A Set is a comparable value; methods return changed copies.
type Set struct {
	given  uint8 // bit o-1: option o is given
	values [numOptions]int64
}

// Get returns the raw value of o and whether it is given.
func (s Set) Get(o Option) (int64, bool) {
	if !o.Valid() || s.given&(1<<(o-1)) == 0 {
		return 0, false
	}
	return s.values[o-1], true
}

// With returns s with o set to the raw value v. An o that is not one of the
// seven intents leaves s unchanged.
func (s Set) With(o Option, v int64) Set {
	if o.Valid() {
		s.given |= 1 << (o - 1)
		s.values[o-1] = v
	}
	return s
}

// Without returns s with o not given.
func (s Set) Without(o Option) Set {
	if o.Valid() {
		s.given &^= 1 << (o - 1)
		s.values[o-1] = 0
	}
	return s
}

// IsZero tells whether s says nothing.
func (s Set) IsZero() bool { return s.given == 0 }

// All yields the given intents with their raw values, by ascending number.
func (s Set) All() iter.Seq2[Option, int64] {
	return func(yield func(Option, int64) bool) {
		for o := Option(1); o <= numOptions; o++ {
			if v, ok := s.Get(o); ok && !yield(o, v) {
				return
			}
		}
	}
}

// Merge returns s completed by what only defaults gives.
func (s Set) Merge(defaults Set) Set {
	for o, v := range defaults.All() {
		if _, given := s.Get(o); !given {
			s = s.With(o, v)
		}
	}
	return s
}

// Category returns the stated category and whether one is given.
func (s Set) Category() (Category, bool) {
	v, ok := s.Get(OptCategory)
	return Category(clamp32(v)), ok
}

// FileSize returns the expected number of bytes and whether it is given.
func (s Set) FileSize() (int64, bool) { return s.Get(OptFileSize) }

// WithCategory states the category.
func (s Set) WithCategory(c Category) Set { return s.With(OptCategory, int64(c)) }

// WithFileSize states the expected number of bytes to transfer.
func (s Set) WithFileSize(bytes int64) Set { return s.With(OptFileSize, bytes) }

// WithDurationSeconds states the time between first and last packet, in
// seconds, the unit of the original's headers.
func (s Set) WithDurationSeconds(n int64) Set { return s.With(OptDuration, n) }

// WithPlayoutBuffer states a video player's buffer level in milliseconds,
// which is how the video policies read the duration intent.
func (s Set) WithPlayoutBuffer(ms int64) Set { return s.With(OptDuration, ms) }

// WithBitrateBytesPerSecond states size divided by duration in bytes per
// second, the unit of the original's headers.
func (s Set) WithBitrateBytesPerSecond(n int64) Set { return s.With(OptBitrate, n) }

// WithBitrateBitsPerSecond states a rate in bits per second, which is how the
// video policies read the bitrate intent.
func (s Set) WithBitrateBitsPerSecond(n int64) Set { return s.With(OptBitrate, n) }

// WithBurstiness states the burstiness.
func (s Set) WithBurstiness(b Burstiness) Set { return s.With(OptBurstiness, int64(b)) }

// WithTimeliness states the timeliness.
func (s Set) WithTimeliness(t Timeliness) Set { return s.With(OptTimeliness, int64(t)) }

// WithResilience states the resilience.
func (s Set) WithResilience(r Resilience) Set { return s.With(OptResilience, int64(r)) }

func clamp32(v int64) int32 { return int32(max(math.MinInt32, min(math.MaxInt32, v))) }
