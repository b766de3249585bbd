// Package workload holds what the evaluation loads, as pure values: web pages
// with their dependencies, files, and a video (doc/original/evaluation.md, "Workloads").
// Sizes are in bytes, a kB is 1000 of them.
package workload

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Type is what an object of a page is.
type Type uint8

// The types.
const (
	HTML Type = iota
	CSS
	JS
	Image
	Font
	Other

	numTypes = iota
)

func (t Type) String() string {
	return [...]string{"html", "css", "js", "image", "font", "other"}[t]
}

// None stands for no object that another waits for.
const None = -1

// Object is one object of a page.
type Object struct {
	Type Type
	Size int64
	Host int // h0 is 0
	// After is the index of the object whose end starts this one; None: it
	// starts at once. It is below the object's own index.
	After int
}

// Page is a web page: its objects in the order in which a browser asks for them.
type Page struct {
	Name    string
	Objects []Object
}

// Bytes is the size of the whole page.
func (p *Page) Bytes() int64 {
	var n int64
	for _, o := range p.Objects {
		n += o.Size
	}
	return n
}

// minSize is that of the smallest object.
const minSize = 200

// hosts is how many names the objects of a web page are spread over.
const hosts = 7

// mix is what a page is made of.
type mix struct {
	name  string
	n     [numTypes]int
	kB    [numTypes]float64
	sigma [numTypes]float64 // of the logarithm of the sizes
}

func light() mix {
	return mix{"P1", [...]int{1, 3, 10, 16, 2, 12}, [...]float64{12, 26, 186, 319, 60, 321}, [...]float64{0.5, 1, 1.3, 1.55, 0.4, 1.5}}
}

func median() mix {
	return mix{"P2", [...]int{4, 6, 19, 31, 4, 10}, [...]float64{27, 62, 391, 983, 120, 351}, [...]float64{1, 1, 1.3, 1.55, 0.4, 1.5}}
}

// P1 is the light page: 44 objects, 924 kB.
func P1() Page { return light().page(quantiles) }

// P2 is the median page: 74 objects, 1.9 MB.
func P2() Page { return median().page(quantiles) }

// Drawn returns n pages like P1 and P2, in turn, but with sizes drawn from the
// distributions instead of their quantiles.
func Drawn(n int, seed uint64) []Page {
	var pages []Page
	for i := range n {
		m := light()
		if i%2 == 1 {
			m = median()
		}
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		p := m.page(func(n int) []float64 {
			z := make([]float64, n)
			for i := range z {
				z[i] = r.NormFloat64()
			}
			return z
		})
		p.Name = fmt.Sprintf("%s-%d", m.name, i/2)
		pages = append(pages, p)
	}
	return pages
}

// quantiles are n evenly spaced quantiles of the normal distribution, in an
// order in which neighbours lie far apart: what a page loads first is not what
// is smallest.
func quantiles(n int) []float64 {
	z := make([]float64, n)
	for i := range z {
		z[i] = math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/float64(n)-1)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(golden(a), golden(b)) })
	mixed := make([]float64, n)
	for i, j := range order {
		mixed[i] = z[j]
	}
	return mixed
}

// golden is a sequence that fills the unit interval evenly.
func golden(i int) float64 {
	_, f := math.Modf(float64(i+1) * math.Phi)
	return f
}

// page makes the page whose sizes follow the given standard normal values.
func (m mix) page(normal func(n int) []float64) Page {
	var sizes [numTypes][]int64
	for t, n := range m.n {
		sizes[t] = spread(m.kB[t]*1000, m.sigma[t], normal(n))
	}
	largest := slices.Index(sizes[HTML], slices.Max(sizes[HTML]))
	root := sizes[HTML][largest]
	sizes[HTML] = slices.Delete(sizes[HTML], largest, largest+1)

	p := Page{Name: m.name, Objects: []Object{{HTML, root, 0, None}}}
	turn := 0
	add := func(t Type, list []int64, after int) {
		for i, size := range list {
			o := Object{t, size, 0, after}
			if t != CSS || i >= (len(list)+1)/2 {
				o.Host = turn % hosts
				turn++
			}
			p.Objects = append(p.Objects, o)
		}
	}
	halfJS, halfImages := (len(sizes[JS])+1)/2, (len(sizes[Image])+1)/2
	const firstCSS = 1
	add(CSS, sizes[CSS], 0)
	add(JS, sizes[JS][:halfJS], 0)
	add(Image, sizes[Image][:halfImages], 0)
	add(HTML, sizes[HTML], firstCSS)
	add(JS, sizes[JS][halfJS:], firstCSS)
	add(Image, sizes[Image][halfImages:], firstCSS)
	add(Font, sizes[Font], firstCSS)
	add(Other, sizes[Other], firstCSS)
	return p
}

// spread divides total bytes among objects of log-normal sizes.
func spread(total, sigma float64, normal []float64) []int64 {
	sum := 0.0
	for _, z := range normal {
		sum += math.Exp(sigma * z)
	}
	sizes := make([]int64, len(normal))
	for i, z := range normal {
		sizes[i] = max(minSize, int64(math.Round(total*math.Exp(sigma*z)/sum)))
	}
	return sizes
}
