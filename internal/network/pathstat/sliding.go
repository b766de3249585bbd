package pathstat

// sliding is the minimum or the maximum of the samples in a sliding window, kept by a
// monotonic deque. It needs amortised constant time per sample, and memory only for
// samples that may still become the extreme. Positions are slots or nanoseconds, as the
// owner chooses.
type sliding struct {
	max bool // keep the maximum, else the minimum
	// grain makes push drop a sample that lies less than this behind a better one. It
	// then counts as expired when the better one expires, up to a grain too early. This
	// bounds the number of entries to window/grain. With 0 the window is exact.
	grain int64

	ring  []extreme // its length is a power of two
	first int       // index of the oldest entry in ring
	n     int
}

// extreme is a value and the position where it was seen.
type extreme struct {
	at    int64
	value float64
}

// better tells whether a new value a makes an older value b useless. The newer one of
// equal values stays.
func (s *sliding) better(a, b float64) bool {
	if s.max {
		return a >= b
	}
	return a <= b
}

// push adds a sample. Positions must never decrease.
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

// expire forgets the samples before the given position.
func (s *sliding) expire(before int64) {
	for s.n > 0 && s.ring[s.first].at < before {
		s.first = (s.first + 1) & (len(s.ring) - 1)
		s.n--
	}
}

// get returns the extreme, or false if there is no sample in the window.
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
