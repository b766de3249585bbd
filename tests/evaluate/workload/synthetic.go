package workload

import "slices"

// index is the size of the first object of synthetic pages.
const index = 1000

// Synthetic returns the page of that name, and whether there is one: an index of
// 1 kB, then images of one host. The names are 100kBx32, 10kBx16, 1kBx32, mixedA,
// mixedC and mixedD.
func Synthetic(name string) (Page, bool) {
	var sizes []int64
	switch name {
	case "100kBx32":
		sizes = repeat(32, 100_000)
	case "10kBx16":
		sizes = repeat(16, 10_000)
	case "1kBx32":
		sizes = repeat(32, 1000)
	case "mixedA":
		sizes = slices.Concat(repeat(16, 1000), repeat(8, 10_000), repeat(4, 100_000))
	case "mixedC":
		sizes = slices.Concat(repeat(4, 10_000), repeat(4, 100_000), repeat(2, 1_000_000))
	case "mixedD":
		sizes = slices.Concat(repeat(16, 10_000), repeat(8, 100_000), repeat(4, 200_000))
	default:
		return Page{}, false
	}
	return images(name, sizes), true
}

// G is the list of a real page's objects, behind an index of 1 kB.
func G() Page {
	return images("G", []int64{
		413, 413, 413, 413, 507, 673, 814, 840, 2208, 5491, 6373, 7755, 17191,
		37811, 48561, 48630, 65813, 66016, 66159, 153733,
	})
}

func images(name string, sizes []int64) Page {
	p := Page{Name: name, Objects: []Object{{HTML, index, 0, None}}}
	for _, size := range sizes {
		p.Objects = append(p.Objects, Object{Image, size, 0, 0})
	}
	return p
}

func repeat(n int, size int64) []int64 { return slices.Repeat([]int64{size}, n) }

// ByName returns the page of that name, P1, P2, G or a synthetic one, and whether
// there is one.
func ByName(name string) (Page, bool) {
	switch name {
	case "P1":
		return P1(), true
	case "P2":
		return P2(), true
	case "G":
		return G(), true
	}
	return Synthetic(name)
}

// Files are the sizes of single downloads.
func Files() []int64 { return []int64{10_000, 100_000, 1_000_000, 10_000_000} }
