package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The ranks are those of tables of the sign test.
func TestRank(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 0, 5: 0, 6: 1, 8: 1, 9: 2, 11: 2, 12: 3, 15: 4, 20: 6, 30: 10, 100: 40} {
		if got := rank(n); got != want {
			t.Errorf("rank of %d values: %d, want %d", n, got, want)
		}
	}
}

func TestMedianOf(t *testing.T) {
	e := MedianOf([]float64{9, 1, 8, 2, 7, 3})
	if diff := cmp.Diff(Estimate{6, 5, 1, 9}, e); diff != "" || e.String() != "5.00 (1.00 to 9.00)" {
		t.Errorf("%v\n%s", e, diff)
	}
	if e := MedianOf([]float64{3, 1, 2}); e.Median != 2 || e.String() != "2.00" {
		t.Errorf("%v", e)
	}
	if e := MedianOf(nil); e.String() != "-" {
		t.Errorf("%v", e)
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{4, 1, 3, 2}
	for share, want := range map[float64]float64{0: 1, 0.25: 1, 0.5: 2, 0.95: 4, 1: 4} {
		if got := Quantile(v, share); got != want {
			t.Errorf("quantile %v: %v, want %v", share, got, want)
		}
	}
	if !math.IsNaN(Quantile(nil, 0.5)) {
		t.Error("quantile of nothing")
	}
}

func TestMarkdown(t *testing.T) {
	tab := Table{Head: []string{"way", "s"}}
	tab.Add("net 1", "4.00")
	tab.Add("×2")
	want := "| way   | s    |\n| ----- | ---- |\n| net 1 | 4.00 |\n| ×2    |      |\n"
	if diff := cmp.Diff(want, tab.Markdown()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 0.0123: "0.012", 1.234: "1.23", 12.34: "12.3", 1234: "1234", math.Inf(1): "-"} {
		if got := Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

// Plots are well-formed XML, whatever they show.
func TestSVG(t *testing.T) {
	p := Plot{Title: "a < b & c", XLabel: "s", YLabel: "share", Series: []Series{CDF("<one>", []float64{3, 1, 2}), {Name: "empty"}}, Steps: true}
	c := Bars{Title: "bytes", Unit: "MB", Parts: []string{"net 1", "net 2"}, Bars: []Bar{{"a", []float64{1, 2}}, {"b", nil}}}
	for _, svg := range []string{p.SVG(), c.SVG(), (&Plot{}).SVG(), (&Bars{}).SVG()} {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("not a number in\n%s", svg)
		}
	}
	want := Series{Name: "x", X: []float64{1, 1, 2}, Y: []float64{0, 0.5, 1}}
	if diff := cmp.Diff(want, CDF("x", []float64{2, 1})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
