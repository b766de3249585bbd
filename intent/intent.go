// Package intent holds the vocabulary of Socket Intents: the options that an
// application may state about a connection, their values, and a Set of them. It reads
// and writes them as text and carries them in a context.Context.
//
// The package is a leaf that policies, clients and tools share. How intents travel to
// the daemon is the business of internal/wire.
//
// Intents are hints. They never guarantee and never forbid anything, and nothing in
// this package checks whether a value makes sense.
package intent

import (
	"iter"
	"math"
	"time"
)

// Level is the socket option level of Socket Intents, called SOL_INTENTS in the headers
// of the Socket Intents prototype. The kernel knows no such level.
const Level = 300

// Option is the number of an intent, as on the wire.
type Option int32

// The seven intents, with the numbers of lib/intents.h in the Socket Intents prototype.
const (
	OptCategory   Option = 1 + iota // a Category
	OptFileSize                     // bytes expected to be transferred
	OptDuration                     // see Set.WithDuration and Set.WithPlayoutBuffer for its units
	OptBitrate                      // see Set.Bitrate for its units
	OptBurstiness                   // a Burstiness
	OptTimeliness                   // a Timeliness
	OptResilience                   // a Resilience
)

// numOptions counts the intents; Set relies on their numbers being 1 to numOptions.
const numOptions = 7

// Category says what kind of communication a connection carries.
type Category int32

// The categories, with the numbers of the Socket Intents prototype.
const (
	CategoryQuery          Category = iota // a short exchange of little data
	CategoryBulkTransfer                   // much data in little time: high rate, bursts
	CategoryControlTraffic                 // lasts long and adds up to much data: low rate, bursts
	CategoryKeepAlives                     // lasts long, little data: low, even rate
	CategoryStream                         // lasts long, much data: high, even rate
)

// String gives the lower-case name that text forms use, "category(N)" for an
// unknown number.
func (c Category) String() string { return OptCategory.Word(int64(c)) }

// Burstiness says how the packets are spread over time.
type Burstiness int32

// The kinds of burstiness, with the numbers of the Socket Intents prototype.
const (
	BurstsRandom  Burstiness = iota // bursts at random times
	BurstsRegular                   // bursts at regular times
	BurstsNone                      // an even flow
	BurstsBulk                      // as fast as the congestion window allows
)

// String gives the lower-case name that text forms use, "burstiness(N)" for an
// unknown number.
func (b Burstiness) String() string { return OptBurstiness.Word(int64(b)) }

// Timeliness says what delay and jitter mean to the application.
type Timeliness int32

// The kinds of timeliness, with the numbers of the Socket Intents prototype.
const (
	TimelinessStreaming         Timeliness = iota // small delay and small jitter
	TimelinessInteractive                         // small delay
	TimelinessTransfer                            // the transfer only has to finish
	TimelinessBackgroundTraffic                   // hardly any time limit
)

// String gives the lower-case name that text forms use, "timeliness(N)" for an
// unknown number.
func (t Timeliness) String() string { return OptTimeliness.Word(int64(t)) }

// Resilience says what a lost connection means to the application.
type Resilience int32

// The kinds of resilience, with the numbers of the Socket Intents prototype.
const (
	ResilienceSensitive Resilience = iota // fatal
	ResilienceTolerant                    // annoying
	ResilienceResilient                   // harmless
)

// String gives the lower-case name that text forms use, "resilience(N)" for an
// unknown number.
func (r Resilience) String() string { return OptResilience.Word(int64(r)) }

// Set is what an application has stated about one connection. It has at most one value
// per intent, as the raw integer of the wire. The zero value states nothing. A Set can
// be compared with ==. Methods return changed copies.
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

// IsZero tells whether s states nothing.
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

// Merge returns s, completed by those intents of defaults that s does not give.
func (s Set) Merge(defaults Set) Set {
	for o, v := range defaults.All() {
		if _, given := s.Get(o); !given {
			s = s.With(o, v)
		}
	}
	return s
}

// Category returns the stated category and whether one is given.
func (s Set) Category() (Category, bool) { return enum[Category](s, OptCategory) }

// Burstiness returns the stated burstiness and whether one is given.
func (s Set) Burstiness() (Burstiness, bool) { return enum[Burstiness](s, OptBurstiness) }

// Timeliness returns the stated timeliness and whether one is given.
func (s Set) Timeliness() (Timeliness, bool) { return enum[Timeliness](s, OptTimeliness) }

// Resilience returns the stated resilience and whether one is given.
func (s Set) Resilience() (Resilience, bool) { return enum[Resilience](s, OptResilience) }

// FileSize returns the expected number of bytes and whether it is given.
func (s Set) FileSize() (int64, bool) { return s.Get(OptFileSize) }

// Duration returns the time between the first and the last packet, and whether the
// duration intent is given. It reads the intent in seconds, as WithDuration states it.
// A value beyond the range of a time.Duration becomes the longest one.
func (s Set) Duration() (time.Duration, bool) { return s.span(time.Second) }

// PlayoutBuffer returns a video player's buffer level, and whether the duration intent
// is given. It reads the intent in milliseconds, as WithPlayoutBuffer states it. A
// value beyond the range of a time.Duration becomes the longest one.
func (s Set) PlayoutBuffer() (time.Duration, bool) { return s.span(time.Millisecond) }

// Bitrate returns the stated rate and whether one is given. The intent does not say its
// unit: the headers of the Socket Intents prototype mean bytes per second, but its
// video policies read bits per second.
func (s Set) Bitrate() (int64, bool) { return s.Get(OptBitrate) }

// WithCategory states the category.
func (s Set) WithCategory(c Category) Set { return s.With(OptCategory, int64(c)) }

// WithFileSize states the expected number of bytes to transfer.
func (s Set) WithFileSize(bytes int64) Set { return s.With(OptFileSize, bytes) }

// WithDuration states the time between the first and the last packet, rounded to full
// seconds. Seconds are the unit in the headers of the Socket Intents prototype.
func (s Set) WithDuration(d time.Duration) Set {
	return s.With(OptDuration, int64(d.Round(time.Second)/time.Second))
}

// WithPlayoutBuffer states a video player's buffer level, in full milliseconds,
// which is how the video policies read the duration intent. A fraction of a
// millisecond is cut off.
func (s Set) WithPlayoutBuffer(d time.Duration) Set { return s.With(OptDuration, d.Milliseconds()) }

// WithBitrateBytesPerSecond states size divided by duration in bytes per second. That
// is the unit in the headers of the Socket Intents prototype.
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

// enum returns the value of an intent whose values have names, clamped to the range of
// its type.
func enum[T ~int32](s Set, o Option) (T, bool) {
	v, given := s.Get(o)
	return T(max(math.MinInt32, min(math.MaxInt32, v))), given
}

func (s Set) span(unit time.Duration) (time.Duration, bool) {
	v, given := s.Get(OptDuration)
	limit := math.MaxInt64 / int64(unit)
	switch {
	case v > limit:
		return math.MaxInt64, given
	case v < -limit:
		return math.MinInt64, given
	}
	return time.Duration(v) * unit, given
}
