package adaptive

import (
	"math"
	"slices"
	"time"
)

// transfer is a decision whose transfer is believed to be under way: bytes that come
// over a prefix. All times are those of its link.
type transfer struct {
	begin time.Duration // of its first byte
	trips int           // round trips before the first byte
	left  float64       // bytes left
	most  float64       // rate that the window allows, bytes per second
	until time.Duration // when it is forgotten at the latest

	// The fields below are needed to judge the prediction at the end.
	token    uint64
	user     uint32        // the user who asked for it
	asked    time.Duration // when it was decided on
	over     time.Duration // when it should have ended; 0: it should not have yet
	wire     float64       // bytes on the wire, headers included
	stated   float64       // size stated by the client, or assumed for its category
	capacity float64       // of the link, as believed at the decision
	came     uint64        // the interface's byte counter at the decision
	alone    float64       // seconds that the best network was predicted to take
	host     *host
	others   int           // number of transfers under way at the decision
	trips0   time.Duration // predicted time of the set-up
	loose    bool          // the client stated no size
	kind     bool          // the size follows from the category
	risk     float64       // seconds that it may lose by exploring; 0: it does not explore
}

// done is the number of bytes left at which a transfer counts as finished.
const done = 1

// sharing simulates how transfers share a capacity evenly, each as far as its window
// allows. An event is the beginning or the end of a transfer. Between two events all
// rates are constant, so the simulation goes from event to event, which costs a few
// nanoseconds per transfer. The next event is the last entry of a sorted list, because
// transfers of the same rate end in the order of their bytes left. The zero value is
// ready for start. A sharing keeps its memory from one use to the next.
type sharing struct {
	capacity float64
	at       float64 // seconds since the start
	rate     float64 // of each member of fast, bytes per second
	served   float64 // bytes that a member which was in fast from the start has received

	fast    []member // at: value of served at which it ends; descending
	slow    []member // their windows allow no more than rate; at: when it ends
	later   []member // at: when it begins; descending
	reserve float64  // capacity that slow uses
	least   float64  // least rate that a window in fast allowed when the rates were set

	list   []transfer
	copied []transfer // memory for a copied list
	ends   []float64  // when each transfer ended, by index; +Inf: not yet
}

// member is a transfer in one of the lists of sharing.
type member struct {
	at   float64
	most float64
	i    int // index of the transfer
}

// start prepares a simulation of the list from now on.
func (s *sharing) start(list []transfer, capacity float64, now time.Duration) {
	s.capacity, s.at, s.served, s.reserve, s.list = capacity, 0, 0, 0, list
	s.fast, s.slow, s.later, s.ends = s.fast[:0], s.slow[:0], s.later[:0], s.ends[:0]
	for i := range list {
		x := &list[i]
		s.ends = append(s.ends, math.Inf(1))
		if x.begin <= now {
			s.fast = insert(s.fast, member{x.left, x.most, i})
		} else {
			s.later = insert(s.later, member{(x.begin - now).Seconds(), x.most, i})
		}
	}
	s.settle()
}

// insert inserts a member into a descending list.
func insert(list []member, m member) []member {
	list = append(list, m)
	for i := len(list) - 1; i > 0 && list[i-1].at < m.at; i-- {
		list[i], list[i-1] = list[i-1], m
	}
	return list
}

// run simulates up to the given number of seconds after the start.
func (s *sharing) run(to float64) {
	for s.at < to && len(s.fast)+len(s.slow)+len(s.later) > 0 {
		if len(s.slow) == 0 {
			s.hurry(to)
		}
		s.step(to)
	}
}

// hurry is a faster form of step. It serves as long as transfers only end and no window
// limits a rate.
func (s *sharing) hurry(to float64) {
	if n := len(s.later); n > 0 {
		to = min(to, s.later[n-1].at)
	}
	all, n := max(s.capacity, 1), len(s.fast)
	for ; n > 0 && all < s.least*float64(n); n-- {
		m := &s.fast[n-1]
		next := s.at + (m.at-s.served)*float64(n)/all
		if next >= to {
			break
		}
		s.at, s.served, s.ends[m.i] = next, m.at, next
	}
	if n < len(s.fast) {
		s.fast = s.fast[:n]
		s.settle()
	}
}

// step goes to the next event, or to the given time if that is earlier.
func (s *sharing) step(to float64) {
	next, first := to, math.Inf(1)
	if n := len(s.fast); n > 0 {
		first = s.at + (s.fast[n-1].at-s.served)/s.rate
		next = min(next, first)
	}
	for i := range s.slow {
		next = min(next, s.slow[i].at)
	}
	if n := len(s.later); n > 0 {
		next = min(next, s.later[n-1].at)
	}
	next = max(next, s.at)
	s.served += s.rate * (next - s.at)
	s.at = next

	changed := false
	for n := len(s.fast); n > 0 && (first <= next || s.fast[n-1].at-s.served < done); n-- {
		s.ends[s.fast[n-1].i] = next
		s.fast = s.fast[:n-1]
		first = math.Inf(1)
		changed = true
	}
	for i := 0; i < len(s.slow); {
		if m := s.slow[i]; m.at > next && (m.at-next)*m.most >= done {
			i++
			continue
		}
		s.ends[s.slow[i].i] = next
		s.dropSlow(i)
		changed = true
	}
	for n := len(s.later); n > 0 && s.later[n-1].at <= next; n-- {
		m := s.later[n-1]
		s.later = s.later[:n-1]
		s.fast = insert(s.fast, member{s.served + s.list[m.i].left, m.most, m.i})
		changed = true
	}
	if changed {
		s.settle()
	}
}

// settle computes the rates again. Capacity that a transfer's window cannot use goes to
// the other transfers.
func (s *sharing) settle() {
	for range 2 * len(s.list) { // a bound; it settles much sooner
		if len(s.fast) == 0 { // the capacity is enough for all
			s.rate = s.capacity
			return
		}
		s.rate = max(s.capacity-s.reserve, 1) / float64(len(s.fast))
		s.least = math.Inf(1)
		moved := false
		for i := 0; i < len(s.slow); {
			m := s.slow[i]
			if m.most <= s.rate {
				i++
				continue
			}
			s.dropSlow(i)
			s.fast = insert(s.fast, member{s.served + (m.at-s.at)*m.most, m.most, m.i})
			moved = true
		}
		if moved {
			continue
		}
		for i := 0; i < len(s.fast); {
			m := &s.fast[i]
			if m.most > s.rate {
				s.least = min(s.least, m.most)
				i++
				continue
			}
			s.slow = append(s.slow, member{s.at + (m.at-s.served)/m.most, m.most, m.i})
			s.reserve += m.most
			s.fast = slices.Delete(s.fast, i, i+1)
			moved = true
		}
		if !moved {
			return
		}
	}
}

// dropSlow removes a member from slow, whose order does not matter.
func (s *sharing) dropSlow(i int) {
	s.reserve -= s.slow[i].most
	last := len(s.slow) - 1
	s.slow[i] = s.slow[last]
	s.slow = s.slow[:last]
	if last == 0 {
		s.reserve = 0 // removes rounding errors
	}
}

// note writes the bytes left of each transfer into the list, 0 for those that have
// ended.
func (s *sharing) note() {
	for i := range s.ends {
		if s.ends[i] <= s.at {
			s.list[i].left = 0
		}
	}
	for _, m := range s.fast {
		s.list[m.i].left = m.at - s.served
	}
	for _, m := range s.slow {
		s.list[m.i].left = (m.at - s.at) * m.most
	}
}

// longest is the value that longer times are cut to.
const longest = 1000 * time.Hour

func seconds(s float64) time.Duration {
	if !(s < longest.Seconds()) {
		return longest
	}
	return time.Duration(s*float64(time.Second)) + 1
}
