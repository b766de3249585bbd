package workload

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// These are the pages of the table in doc/original/evaluation.md, with its check
// figures in kB.
func TestPages(t *testing.T) {
	for _, tt := range []struct {
		page    Page
		n       int
		kB      float64
		figures [4]float64 // p10, p50, p90, max
		types   [numTypes]int
	}{
		{P1(), 44, 924, [...]float64{1.5, 10.5, 56, 144}, [...]int{1, 3, 10, 16, 2, 12}},
		{P2(), 74, 1934, [...]float64{1.7, 11.6, 61, 299}, [...]int{4, 6, 19, 31, 4, 10}},
	} {
		if got := len(tt.page.Objects); got != tt.n {
			t.Errorf("%s: %d objects, want %d", tt.page.Name, got, tt.n)
		}
		if got := float64(tt.page.Bytes()) / 1000; math.Abs(got-tt.kB) > 1 {
			t.Errorf("%s: %.1f kB, want %.1f", tt.page.Name, got, tt.kB)
		}
		var sizes []float64
		var types [numTypes]int
		for _, o := range tt.page.Objects {
			sizes = append(sizes, float64(o.Size)/1000)
			types[o.Type]++
		}
		slices.Sort(sizes)
		for i, q := range []float64{0.1, 0.5, 0.9, 1} {
			if got := quantile(sizes, q); math.Abs(got-tt.figures[i]) > 0.5 || math.Abs(got-tt.figures[i]) > 0.06 && tt.figures[i] < 15 {
				t.Errorf("%s: quantile %v is %.2f kB, want %v", tt.page.Name, q, got, tt.figures[i])
			}
		}
		if types != tt.types {
			t.Errorf("%s: %v objects by type, want %v", tt.page.Name, types, tt.types)
		}
	}
}

// quantile returns the value above the given share of the sorted values.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func TestStructure(t *testing.T) {
	p := P1()
	level := map[int][]Type{}
	hosts := map[int]int{}
	for i, o := range p.Objects {
		if o.After >= i || o.After < None {
			t.Fatalf("object %d waits for %d", i, o.After)
		}
		level[o.After] = append(level[o.After], o.Type)
		hosts[o.Host]++
	}
	count := func(list []Type) (n [numTypes]int) {
		for _, t := range list {
			n[t]++
		}
		return n
	}
	want := map[int][numTypes]int{
		None: {HTML: 1},
		0:    {CSS: 3, JS: 5, Image: 8},
		1:    {JS: 5, Image: 8, Font: 2, Other: 12},
	}
	got := map[int][numTypes]int{}
	for after, list := range level {
		got[after] = count(list)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types by what they wait for (-want +got)\n%s", diff)
	}
	// h0 has the largest HTML and two of three CSS objects; the other 41 are shared out
	// in turn.
	if diff := cmp.Diff(map[int]int{0: 9, 1: 6, 2: 6, 3: 6, 4: 6, 5: 6, 6: 5}, hosts); diff != "" {
		t.Errorf("objects by host (-want +got)\n%s", diff)
	}
	if p.Objects[1].Type != CSS || p.Objects[1].Host != 0 {
		t.Errorf("what level 2 waits for is %+v", p.Objects[1])
	}
}

func TestSynthetic(t *testing.T) {
	for _, tt := range []struct {
		name  string
		n     int
		bytes int64
	}{
		{"100kBx32", 33, 3_201_000}, {"10kBx16", 17, 161_000}, {"1kBx32", 33, 33_000}, {"mixedA", 29, 497_000},
		{"mixedC", 11, 2_441_000}, {"mixedD", 29, 1_761_000}, {"G", 21, 531_227}, {"P1", 44, 924_000},
	} {
		p, ok := ByName(tt.name)
		if !ok || p.Name != tt.name || len(p.Objects) != tt.n || math.Abs(float64(p.Bytes()-tt.bytes)) > 500 {
			t.Errorf("%s: %d objects, %d bytes, want %d and %d", p.Name, len(p.Objects), p.Bytes(), tt.n, tt.bytes)
		}
	}
	if _, ok := ByName("mixedE"); ok {
		t.Error("there is no mixedE")
	}
}

func TestDrawn(t *testing.T) {
	a, b := Drawn(4, 1), Drawn(4, 1)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same seed draws other pages\n%s", diff)
	}
	if cmp.Equal(a[0].Objects, a[2].Objects) || cmp.Equal(a, Drawn(4, 2)) {
		t.Error("the same page twice")
	}
	for i, n := range []int{44, 74, 44, 74} {
		if len(a[i].Objects) != n {
			t.Errorf("page %d has %d objects", i, len(a[i].Objects))
		}
	}
}

func TestVideo(t *testing.T) {
	v := V()
	if v.Segments() != 60 || v.Size(0) != 109_000 || v.Size(6) != 1_968_000 {
		t.Errorf("%d segments of %d to %d bytes", v.Segments(), v.Size(0), v.Size(6))
	}
}
