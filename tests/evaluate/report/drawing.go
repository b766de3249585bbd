package report

import (
	"fmt"
	"html"
	"strings"
)

// Drawing is a picture of lines, areas and words, in pixels from the upper left
// corner. SVG and PNG render it.
type Drawing struct {
	width, height int
	shapes        []shape
}

// shape is a polyline if it has a stroke, a rectangle between two corners if it
// has a fill, else a text.
type shape struct {
	points [][2]float64
	stroke string // colour, "#rgb" or "#rrggbb"
	thick  float64
	dash   []float64
	fill   string

	text   string
	size   float64
	anchor anchor
	upward bool // the text runs from below to above
}

// anchor says which part of a text is at its point.
type anchor string

// The anchors, as SVG calls them.
const (
	atStart  anchor = "start"
	atMiddle anchor = "middle"
	atEnd    anchor = "end"
)

// Sizes of texts.
const (
	small = 12.0
	large = 15.0
)

func newDrawing(width, height int, title string) *Drawing {
	d := &Drawing{width: width, height: height}
	d.rect(0, 0, float64(width), float64(height), "#ffffff")
	d.shapes = append(d.shapes, shape{points: [][2]float64{{16, 22}}, text: title, size: large, anchor: atStart})
	return d
}

func (d *Drawing) line(points [][2]float64, colour string, thick float64, dash []float64) {
	d.shapes = append(d.shapes, shape{points: points, stroke: colour, thick: thick, dash: dash})
}

func (d *Drawing) rect(x, y, width, height float64, colour string) {
	d.shapes = append(d.shapes, shape{points: [][2]float64{{x, y}, {x + width, y + height}}, fill: colour})
}

func (d *Drawing) text(x, y float64, at anchor, s string) {
	d.shapes = append(d.shapes, shape{points: [][2]float64{{x, y}}, text: s, size: small, anchor: at})
}

// upward writes a text from below to above, its middle at the point.
func (d *Drawing) upward(x, y float64, s string) {
	d.shapes = append(d.shapes, shape{points: [][2]float64{{x, y}}, text: s, size: small, anchor: atMiddle, upward: true})
}

// SVG renders the drawing as Scalable Vector Graphics.
func (d *Drawing) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif">`+"\n", d.width, d.height, d.width, d.height)
	for _, s := range d.shapes {
		p := s.points[0]
		switch {
		case s.stroke != "":
			var points []string
			for _, p := range s.points {
				points = append(points, fmt.Sprintf("%.1f,%.1f", p[0], p[1]))
			}
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="%g" stroke-dasharray="%s" points="%s"/>`+"\n",
				s.stroke, s.thick, strings.Trim(fmt.Sprint(s.dash), "[]"), strings.Join(points, " "))
		case s.fill != "":
			q := s.points[1]
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", p[0], p[1], q[0]-p[0], q[1]-p[1], s.fill)
		default:
			turned := ""
			if s.upward {
				turned = fmt.Sprintf(` transform="rotate(-90 %.1f %.1f)"`, p[0], p[1])
			}
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" font-size="%g" text-anchor="%s"%s>%s</text>`+"\n", p[0], p[1], s.size, s.anchor, turned, html.EscapeString(s.text))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
