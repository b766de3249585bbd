package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The ranks are those in published tables of the sign test.
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

// Plots are well-formed XML, and images of the right size, whatever they show.
func TestDrawing(t *testing.T) {
	p := Plot{Title: "a < b & c", XLabel: "s", YLabel: "share", Series: []Series{CDF("<one>", []float64{3, 1, 2}), {Name: "empty"}}, Steps: true}
	c := Bars{Title: "bytes", Unit: "MB", Parts: []string{"net 1", "net 2"}, Bars: []Bar{{"a", []float64{1, 2}}, {"b", nil}}}
	for _, drawing := range []*Drawing{p.Draw(), c.Draw(), (&Plot{}).Draw(), (&Bars{}).Draw()} {
		svg := drawing.SVG()
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
		raw, err := drawing.PNG()
		if err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if want := image.Rect(0, 0, scale*drawing.width, scale*drawing.height); got.Bounds() != want {
			t.Errorf("bounds %v, want %v", got.Bounds(), want)
		}
	}
	want := Series{Name: "x", X: []float64{1, 1, 2}, Y: []float64{0, 0.5, 1}}
	if diff := cmp.Diff(want, CDF("x", []float64{2, 1})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Both formats show the same line, area and words, each at its place.
func TestPNG(t *testing.T) {
	d := newDrawing(100, 80, "")
	d.rect(10, 10, 20, 20, "#ff0000")
	d.line([][2]float64{{10, 50}, {60, 50}, {60, 70}}, "#0000ff", 4, nil)
	d.line([][2]float64{{70, 10}, {70, 30}}, "#00ff00", 4, []float64{6, 4})
	d.text(40, 30, atStart, "M")
	d.upward(90, 60, "M")
	raw, err := d.PNG()
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		x, y int
		want string
	}{
		{5, 5, "ffffff"}, {20, 20, "ff0000"}, {31, 20, "ffffff"}, {30, 50, "0000ff"}, {61, 51, "0000ff"}, {60, 65, "0000ff"}, {55, 60, "ffffff"},
		{70, 12, "00ff00"}, {70, 18, "ffffff"}, {70, 22, "00ff00"},
	} {
		r, g, b, _ := got.At(scale*tt.x, scale*tt.y).RGBA()
		if have := fmt.Sprintf("%02x%02x%02x", r>>8, g>>8, b>>8); have != tt.want {
			t.Errorf("at %d, %d: %s, want %s", tt.x, tt.y, have, tt.want)
		}
	}
	dark := func(area image.Rectangle) (n int) {
		for x := scale * area.Min.X; x < scale*area.Max.X; x++ {
			for y := scale * area.Min.Y; y < scale*area.Max.Y; y++ {
				if r, _, _, _ := got.At(x, y).RGBA(); r < 0x8000 {
					n++
				}
			}
		}
		return n
	}
	if plain, turned := dark(image.Rect(40, 20, 52, 31)), dark(image.Rect(80, 54, 91, 67)); plain < 50 || plain != turned {
		t.Errorf("a letter has %d dark pixels, turned %d", plain, turned)
	}
}
