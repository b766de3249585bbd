package pathstat

// decile is the 10 % quantile of the non-zero values in a window
// (doc/original/measurement.md 5.2): of n values in ascending order the one with index
// floor(n/10). Two heaps hold the values, low with the floor(n/10)+1 smallest ones and
// high with the rest. The position of each value in its heap is stored, so that the
// value that leaves the window is removed in logarithmic time, too.
type decile struct {
	value []float64 // by position in the window; values up to epsilon are in no heap
	place []int32   // by position in the window: index in the value's heap
	low   posHeap   // largest on top: the quantile
	high  posHeap   // smallest on top
}

// epsilon is the bound below which the original takes a value for zero (EPS in
// doc/original/measurement.md 1).
const epsilon = 0.00001

func newDecile(window int) *decile {
	d := &decile{value: make([]float64, window), place: make([]int32, window)}
	d.low = posHeap{d: d, max: true}
	d.high = posHeap{d: d}
	return d
}

// replace puts v at position i of the window.
func (d *decile) replace(i int, v float64) {
	pos := int32(i)
	if d.value[i] > epsilon {
		if !d.low.remove(pos) {
			d.high.remove(pos)
		}
	}
	d.value[i] = v
	if v > epsilon {
		if len(d.low.items) > 0 && v < d.quantile() {
			d.low.add(pos)
		} else {
			d.high.add(pos)
		}
	}
	n := len(d.low.items) + len(d.high.items)
	want := 0
	if n > 0 {
		want = n/10 + 1
	}
	for len(d.low.items) > want {
		d.high.add(d.low.pop())
	}
	for len(d.low.items) < want {
		d.low.add(d.high.pop())
	}
}

// quantile returns the quantile, or 0 if there are no non-zero values.
func (d *decile) quantile() float64 {
	if len(d.low.items) == 0 {
		return 0
	}
	return d.value[d.low.items[0]]
}

func (d *decile) reset() {
	clear(d.value)
	d.low.items, d.high.items = d.low.items[:0], d.high.items[:0]
}

// posHeap is a binary heap of window positions, ordered by their values.
type posHeap struct {
	d     *decile
	max   bool
	items []int32
}

func (h *posHeap) before(i, j int) bool {
	a, b := h.d.value[h.items[i]], h.d.value[h.items[j]]
	if h.max {
		return a > b
	}
	return a < b
}

func (h *posHeap) add(pos int32) {
	h.items = append(h.items, pos)
	h.d.place[pos] = int32(len(h.items) - 1)
	h.up(len(h.items) - 1)
}

func (h *posHeap) pop() int32 {
	top := h.items[0]
	h.remove(top)
	return top
}

// remove removes a position. It returns false if the position is not in this heap.
func (h *posHeap) remove(pos int32) bool {
	i := int(h.d.place[pos])
	if i >= len(h.items) || h.items[i] != pos {
		return false
	}
	last := len(h.items) - 1
	h.swap(i, last)
	h.items = h.items[:last]
	if i < last && !h.up(i) {
		h.down(i)
	}
	return true
}

func (h *posHeap) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.d.place[h.items[i]], h.d.place[h.items[j]] = int32(i), int32(j)
}

func (h *posHeap) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h *posHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.before(child+1, child) {
			child++
		}
		if !h.before(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}
