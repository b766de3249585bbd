package pathstat

// number is a type that medians are computed of.
type number interface {
	~uint32 | ~float64
}

// median returns the median of v. For an even number of values that is the mean of the
// two middle ones; for an empty v it is 0. median reorders v. It takes linear time:
// sorting 5000 round-trip times ten times a second would be noticeable.
func median[T number](v []T) float64 {
	n := len(v)
	if n == 0 {
		return 0
	}
	upper := nth(v, n/2)
	if n%2 == 1 {
		return float64(upper)
	}
	// Now all values before n/2 are at most upper. The other middle value is the
	// largest of them.
	lower := v[0]
	for _, x := range v[1 : n/2] {
		lower = max(lower, x)
	}
	return (float64(lower) + float64(upper)) / 2
}

// nth moves the k smallest values to the front of v and returns v[k]. It is a
// quickselect with three parts, so that many equal values, such as no loss on any
// connection, end it at once.
func nth[T number](v []T, k int) T {
	lo, hi := 0, len(v)
	for hi-lo > 1 {
		pivot := middle(v[lo], v[lo+(hi-lo)/2], v[hi-1])
		// v[lo:less] < pivot, v[less:i] == pivot, v[more:hi] > pivot
		less, i, more := lo, lo, hi
		for i < more {
			switch x := v[i]; {
			case x < pivot:
				v[i], v[less] = v[less], x
				less++
				i++
			case x > pivot:
				more--
				v[i], v[more] = v[more], x
			default:
				i++
			}
		}
		switch {
		case k < less:
			hi = less
		case k >= more:
			lo = more
		default:
			return pivot
		}
	}
	return v[k]
}

func middle[T number](a, b, c T) T {
	return max(min(a, b), min(max(a, b), c))
}
