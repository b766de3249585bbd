package replay

import (
	"cmp"
	"slices"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Summary counts results. The zero value is empty.
type Summary struct {
	Decisions, Same int
	// Predicted counts the decisions for which one prediction has the times of both
	// choices.
	Predicted int

	recorded, replayed float64 // sums of those times, in nanoseconds
	prefixes           map[Target]*PrefixCount
	refusals           map[string]*RefusalCount
	classes            map[Class]*ClassCount
	moves              map[move]*Move
}

// Class is a kind of transfer.
type Class struct {
	Category string // of the intents, "" if not given
	Size     Size
}

// Size is a class of file sizes.
type Size uint8

// The sizes.
const (
	SizeUnknown Size = iota // not given
	To10kB
	To100kB
	To1MB
	To10MB
	Above10MB
)

func (s Size) String() string {
	return [...]string{"", "to 10 kB", "to 100 kB", "to 1 MB", "to 10 MB", "above 10 MB"}[s]
}

func sizeOf(r *policy.Request) Size {
	n, given := r.Intents.FileSize()
	switch {
	case !given:
		return SizeUnknown
	case n <= 10e3:
		return To10kB
	case n <= 100e3:
		return To100kB
	case n <= 1e6:
		return To1MB
	case n <= 10e6:
		return To10MB
	}
	return Above10MB
}

// Target is where a decision leads. The zero Target stands for no preference.
type Target struct {
	Prefix  policy.PrefixID
	Refused bool // nowhere: there is to be no connection
}

// PrefixCount says how often a target was chosen.
type PrefixCount struct {
	Target
	Recorded, Replayed, Both int
}

// RefusalCount says how often connections were refused for a reason.
type RefusalCount struct {
	Reason             string
	Recorded, Replayed int
}

// ClassCount says how often the policies agree about a kind of transfer.
type ClassCount struct {
	Class           Class
	Decisions, Same int
}

// Move is one way in which decisions differ.
type Move struct {
	From, To Target // equal if only the socket, MPTCP or the resolver differs
	Class    Class
	Count    int
	// The first decision of this kind.
	Line                           int
	RecordedReason, ReplayedReason string
}

type move struct {
	from, to Target
	class    Class
}

// maxRows bounds the memory of a Summary, whatever the file contains. Results beyond
// these rows count only in the totals.
const maxRows = 1024

// row returns the value of k. If k is new and there is no room, row returns a value
// that is not kept.
func row[K comparable, V any](m *map[K]*V, k K) *V {
	v := (*m)[k]
	if v == nil {
		v = new(V)
		if *m == nil {
			*m = map[K]*V{}
		}
		if len(*m) < maxRows {
			(*m)[k] = v
		}
	}
	return v
}

// Add counts a result.
func (s *Summary) Add(r *Result) {
	same := 0
	if r.Same {
		same = 1
	}
	s.Decisions++
	s.Same += same
	if r.RecordedTime > 0 {
		s.Predicted++
		s.recorded += float64(r.RecordedTime)
		s.replayed += float64(r.ReplayedTime)
	}
	from, to := r.Recorded.target(), r.Replayed.target()
	a, b := row(&s.prefixes, from), row(&s.prefixes, to)
	a.Target, b.Target = from, to
	a.Recorded++
	b.Replayed++
	if a == b {
		a.Both++
	}
	if from.Refused {
		s.refusal(r.Recorded.Reason).Recorded++
	}
	if to.Refused {
		s.refusal(r.Replayed.Reason).Replayed++
	}
	class := Class{Size: sizeOf(r.Request)}
	if c, given := r.Request.Intents.Category(); given {
		class.Category = intent.Category(c).String()
	}
	c := row(&s.classes, class)
	c.Class = class
	c.Decisions++
	c.Same += same
	if !r.Same {
		m := row(&s.moves, move{from, to, class})
		if m.Count == 0 {
			*m = Move{
				From: from, To: to, Class: class, Line: r.Line,
				RecordedReason: r.Recorded.Reason, ReplayedReason: r.Replayed.Reason,
			}
		}
		m.Count++
	}
}

// maxReason is the number of bytes that are kept of a reason. A recording may contain
// long ones.
const maxReason = 256

func (s *Summary) refusal(reason string) *RefusalCount {
	reason = reason[:min(len(reason), maxReason)]
	n := row(&s.refusals, reason)
	n.Reason = reason
	return n
}

// Prefixes lists how often each prefix was chosen, or the connection refused, the most
// frequent first.
func (s *Summary) Prefixes() []PrefixCount {
	return sorted(s.prefixes, func(a, b *PrefixCount) int {
		return cmp.Or(cmp.Compare(b.Recorded+b.Replayed, a.Recorded+a.Replayed), cmp.Compare(a.String(), b.String()))
	})
}

// Refusals lists why connections were refused, the most frequent reason first.
func (s *Summary) Refusals() []RefusalCount {
	return sorted(s.refusals, func(a, b *RefusalCount) int {
		return cmp.Or(cmp.Compare(b.Recorded+b.Replayed, a.Recorded+a.Replayed), cmp.Compare(a.Reason, b.Reason))
	})
}

// String returns "refused", the prefix, or "-" for no preference.
func (t Target) String() string {
	if t.Refused {
		return "refused"
	}
	return prefixName(t.Prefix)
}

func (c *Choice) target() Target { return Target{c.Prefix, c.Refused} }

// Classes lists how often the policies agree, by category and size.
func (s *Summary) Classes() []ClassCount {
	return sorted(s.classes, func(a, b *ClassCount) int { return compareClass(a.Class, b.Class) })
}

// Moves lists in which ways the decisions differ, the most frequent first.
func (s *Summary) Moves() []Move {
	return sorted(s.moves, func(a, b *Move) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Line, b.Line)) })
}

// Means returns the mean times of the two choices; 0 if nothing is predicted.
func (s *Summary) Means() (recorded, replayed time.Duration) {
	if s.Predicted == 0 {
		return 0, 0
	}
	n := float64(s.Predicted)
	return time.Duration(s.recorded / n), time.Duration(s.replayed / n)
}

func compareClass(a, b Class) int {
	return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Size, b.Size))
}

func sorted[K comparable, V any](m map[K]*V, compare func(a, b *V) int) []V {
	list := make([]*V, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	slices.SortFunc(list, compare)
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = *v
	}
	return out
}
