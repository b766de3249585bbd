package split

import "slices"

// Span is the bytes from From up to To, without the byte at To.
type Span struct{ From, To int64 }

// Len returns the number of bytes.
func (s Span) Len() int64 { return max(0, s.To-s.From) }

// overlap returns the common bytes; it may be empty.
func (s Span) overlap(t Span) Span { return Span{max(s.From, t.From), min(s.To, t.To)} }

// spans is a set of bytes: non-empty Spans in order, with gaps between them.
type spans []Span

// add adds the bytes of s to the set.
func (l *spans) add(s Span) {
	if s.Len() == 0 {
		return
	}
	first := 0
	for first < len(*l) && (*l)[first].To < s.From {
		first++
	}
	last := first
	for last < len(*l) && (*l)[last].From <= s.To {
		s.From, s.To = min(s.From, (*l)[last].From), max(s.To, (*l)[last].To)
		last++
	}
	*l = slices.Replace(*l, first, last, s)
}

// remove removes the bytes of s from the set.
func (l *spans) remove(s Span) {
	if s.Len() == 0 || !slices.ContainsFunc(*l, func(t Span) bool { return t.overlap(s).Len() > 0 }) {
		return
	}
	var kept spans
	for _, t := range *l {
		for _, rest := range []Span{{t.From, min(t.To, s.From)}, {max(t.From, s.To), t.To}} {
			if rest.Len() > 0 {
				kept = append(kept, rest)
			}
		}
	}
	*l = kept
}

// within returns the part of the set inside of s.
func (l spans) within(s Span) (part spans) {
	for _, t := range l {
		if o := t.overlap(s); o.Len() > 0 {
			part = append(part, o)
		}
	}
	return part
}

// without returns the part of s that is not in the set.
func (l spans) without(s Span) (rest spans) {
	rest.add(s)
	for _, t := range l {
		rest.remove(t)
	}
	return rest
}

// at returns the end of the Span that contains the byte at offset.
func (l spans) at(offset int64) (end int64, ok bool) {
	for _, t := range l {
		if t.From <= offset && offset < t.To {
			return t.To, true
		}
	}
	return 0, false
}

// next returns the beginning of the first Span that ends after offset, or else offset.
func (l spans) next(offset int64) int64 {
	for _, t := range l {
		if t.To > offset {
			return t.From
		}
	}
	return offset
}

func (l spans) bytes() (n int64) {
	for _, t := range l {
		n += t.Len()
	}
	return n
}
