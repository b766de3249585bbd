package pathstat

// sliding is the minimum or the maximum of the samples of a sliding window, by a
// monotonic deque: amortised constant time per sample, and memory only for
// samples that may still become the extreme. Positions are slots or
// nanoseconds, as the owner likes.
type sliding struct {
	max bool // else the minimum
	// grain drops a sample that lies less than this behind one that is better:
	// when the better one expires, so does this one, up to a grain early. It
	// bounds the number of entries to window/grain; 0 keeps the window exact.
	grain int64

	ring  []extreme // a power of two long
	first int       // index of the oldest entry in ring
	n     int
}

// extreme is a value and the position where it was seen.
type extreme struct {
	at    int64
	value float64
}

// better says whether a new value a makes an older b useless; of equal ones the
// newer stays.
func (s *sliding) better(a, b float64) bool {
	if s.max {
		return a >= b
	}
	return a <= b
}

// push adds a sample; positions never decrease.
func (s *sliding) push(at int64, v float64) {
	for s.n > 0 && s.better(v, s.last().value) {
		s.n--
	}
	if s.n > 0 && at-s.last().at < s.grain {
		return
	}
	if s.n == len(s.ring) {
		s.grow()
	}
	s.n++
	*s.last() = extreme{at, v}
}

// expire forgets the samples at positions before the given one.
func (s *sliding) expire(before int64) {
	for s.n > 0 && s.ring[s.first].at < before {
		s.first = (s.first + 1) & (len(s.ring) - 1)
		s.n--
	}
}

// get returns the extreme, or false if the window has no sample.
func (s *sliding) get() (extreme, bool) {
	if s.n == 0 {
		return extreme{}, false
	}
	return s.ring[s.first], true
}

// value returns the extreme, 0 if there is none.
func (s *sliding) value() float64 {
	e, _ := s.get()
	return e.value
}

func (s *sliding) reset() { s.first, s.n = 0, 0 }

func (s *sliding) last() *extreme {
	return &s.ring[(s.first+s.n-1)&(len(s.ring)-1)]
}

func (s *sliding) grow() {
	ring := make([]extreme, max(8, 2*len(s.ring)))
	for i := range s.n {
		ring[i] = s.ring[(s.first+i)&(len(s.ring)-1)]
	}
	s.ring, s.first = ring, 0
}
