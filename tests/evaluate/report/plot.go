package report

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Series is a named line of a plot.
type Series struct {
	Name string
	X, Y []float64
}

// Plot is a line plot.
type Plot struct {
	Title  string
	XLabel string
	YLabel string
	Series []Series
	Steps  bool // values hold until the next one
}

// Sizes of a plot in pixels.
const (
	plotWidth, plotHeight     = 720, 400
	left, right, top, bottom  = 70, 190, 40, 50
	innerWidth                = plotWidth - left - right
	innerHeight               = plotHeight - top - bottom
	ticks                     = 5
	legendLine, swatch, gap   = 18, 22, 12
	maxBars, barHeight, below = 40, 22, 8
)

// colour and dash tell lines apart, for those who see no colours too.
func colour(i int) string {
	list := []string{"#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#00798c", "#8d6e63", "#444444", "#c2185b", "#7cb342"}
	return list[i%len(list)]
}

func dash(i int) string {
	list := []string{"", "6 3", "2 2", "8 3 2 3"}
	return list[i%len(list)]
}

// CDF makes the series of a distribution.
func CDF(name string, values []float64) Series {
	s := Series{Name: name}
	sorted := slices.Sorted(slices.Values(values))
	for i, v := range sorted {
		if i == 0 {
			s.X, s.Y = append(s.X, v), append(s.Y, 0)
		}
		s.X, s.Y = append(s.X, v), append(s.Y, float64(i+1)/float64(len(sorted)))
	}
	return s
}

// SVG renders the plot.
func (p *Plot) SVG() string {
	maxX, maxY := 0.0, 0.0
	for _, s := range p.Series {
		for i := range s.X {
			maxX, maxY = max(maxX, s.X[i]), max(maxY, s.Y[i])
		}
	}
	stepX, stepY := niceStep(maxX), niceStep(maxY)
	maxX, maxY = stepX*max(1, math.Ceil(maxX/stepX)), stepY*max(1, math.Ceil(maxY/stepY))
	x := func(v float64) float64 { return left + v/maxX*innerWidth }
	y := func(v float64) float64 { return top + innerHeight - v/maxY*innerHeight }

	b := start(plotWidth, plotHeight, p.Title)
	for v := 0.0; v <= maxX*1.001; v += stepX {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", x(v), top, x(v), top+innerHeight)
		text(b, x(v), top+innerHeight+16, "middle", label(v))
	}
	for v := 0.0; v <= maxY*1.001; v += stepY {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", left, y(v), left+innerWidth, y(v))
		text(b, left-6, y(v)+4, "end", label(v))
	}
	text(b, left+innerWidth/2, plotHeight-10, "middle", p.XLabel)
	fmt.Fprintf(b, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`+"\n", top+innerHeight/2, top+innerHeight/2, html.EscapeString(p.YLabel))
	for i, s := range p.Series {
		var points []string
		for j := range s.X {
			if j > 0 && p.Steps {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(s.X[j]), y(s.Y[j-1])))
			}
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(s.X[j]), y(s.Y[j])))
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s" points="%s"/>`+"\n", colour(i), dash(i), strings.Join(points, " "))
		at := float64(top + 10 + legendLine*i)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n",
			left+innerWidth+gap, at, left+innerWidth+gap+swatch, at, colour(i), dash(i))
		text(b, left+innerWidth+gap+swatch+6, at+4, "start", s.Name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// Bar is a row of stacked parts.
type Bar struct {
	Name  string
	Parts []float64
}

// Bars is a chart of stacked, horizontal bars.
type Bars struct {
	Title string
	Unit  string
	Parts []string // names of the parts
	Bars  []Bar
}

// SVG renders the chart.
func (c *Bars) SVG() string {
	bars := c.Bars[:min(len(c.Bars), maxBars)]
	longest := 0.0
	for _, bar := range bars {
		longest = max(longest, sum(bar.Parts))
	}
	step := niceStep(longest)
	longest = step * max(1, math.Ceil(longest/step))
	height := top + len(bars)*(barHeight+below) + bottom
	b := start(plotWidth, height, c.Title)
	const names = 170
	width := float64(plotWidth - names - 60)
	for i, bar := range bars {
		at := float64(top + i*(barHeight+below))
		text(b, names-8, at+barHeight/2+4, "end", bar.Name)
		from := float64(names)
		for k, v := range bar.Parts {
			w := v / longest * width
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", from, at, w, barHeight, colour(k))
			from += w
		}
		text(b, from+6, at+barHeight/2+4, "start", Number(sum(bar.Parts)))
	}
	at := float64(height - 16)
	from := float64(names)
	for k, name := range c.Parts {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/>`+"\n", from, at-10, colour(k))
		text(b, from+18, at, "start", name)
		from += 30 + 8*float64(len(name))
	}
	text(b, from, at, "start", "("+c.Unit+")")
	b.WriteString("</svg>\n")
	return b.String()
}

func sum(parts []float64) (s float64) {
	for _, v := range parts {
		s += v
	}
	return s
}

func start(width, height int, title string) *strings.Builder {
	b := &strings.Builder{}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(b, `<text x="%d" y="22" font-size="15">%s</text>`+"\n", 16, html.EscapeString(title))
	return b
}

func text(b *strings.Builder, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
}

func label(v float64) string { return fmt.Sprintf("%.4g", v) }

// niceStep divides a range into some five parts of 1, 2 or 5 times a power of ten.
func niceStep(longest float64) float64 {
	if !(longest > 0) {
		return 1
	}
	raw := longest / ticks
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*power {
			return m * power
		}
	}
	return 10 * power
}
