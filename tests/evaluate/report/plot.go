package report

import (
	"fmt"
	"math"
	"slices"
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

// grid is the colour of lines behind the others.
const grid = "#dddddd"

// colour and dash tell lines apart, for those who see no colours too.
func colour(i int) string {
	list := []string{"#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#00798c", "#8d6e63", "#444444", "#c2185b", "#7cb342"}
	return list[i%len(list)]
}

func dash(i int) []float64 {
	list := [][]float64{nil, {6, 3}, {2, 2}, {8, 3, 2, 3}}
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

// Draw draws the plot.
func (p *Plot) Draw() *Drawing {
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

	d := newDrawing(plotWidth, plotHeight, p.Title)
	for v := 0.0; v <= maxX*1.001; v += stepX {
		d.line([][2]float64{{x(v), top}, {x(v), top + innerHeight}}, grid, 1, nil)
		d.text(x(v), top+innerHeight+16, atMiddle, label(v))
	}
	for v := 0.0; v <= maxY*1.001; v += stepY {
		d.line([][2]float64{{left, y(v)}, {left + innerWidth, y(v)}}, grid, 1, nil)
		d.text(left-6, y(v)+4, atEnd, label(v))
	}
	d.text(left+innerWidth/2, plotHeight-10, atMiddle, p.XLabel)
	d.upward(16, top+innerHeight/2, p.YLabel)
	for i, s := range p.Series {
		var points [][2]float64
		for j := range s.X {
			if j > 0 && p.Steps {
				points = append(points, [2]float64{x(s.X[j]), y(s.Y[j-1])})
			}
			points = append(points, [2]float64{x(s.X[j]), y(s.Y[j])})
		}
		if len(points) > 0 {
			d.line(points, colour(i), 2, dash(i))
		}
		at := float64(top + 10 + legendLine*i)
		d.line([][2]float64{{left + innerWidth + gap, at}, {left + innerWidth + gap + swatch, at}}, colour(i), 2, dash(i))
		d.text(left+innerWidth+gap+swatch+6, at+4, atStart, s.Name)
	}
	return d
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

// Draw draws the chart.
func (c *Bars) Draw() *Drawing {
	bars := c.Bars[:min(len(c.Bars), maxBars)]
	longest := 0.0
	for _, bar := range bars {
		longest = max(longest, sum(bar.Parts))
	}
	step := niceStep(longest)
	longest = step * max(1, math.Ceil(longest/step))
	height := top + len(bars)*(barHeight+below) + bottom
	d := newDrawing(plotWidth, height, c.Title)
	const names = 170
	width := float64(plotWidth - names - 60)
	for i, bar := range bars {
		at := float64(top + i*(barHeight+below))
		d.text(names-8, at+barHeight/2+4, atEnd, bar.Name)
		from := float64(names)
		for k, v := range bar.Parts {
			w := v / longest * width
			d.rect(from, at, w, barHeight, colour(k))
			from += w
		}
		d.text(from+6, at+barHeight/2+4, atStart, Number(sum(bar.Parts)))
	}
	at := float64(height - 16)
	from := float64(names)
	for k, name := range c.Parts {
		d.rect(from, at-10, 12, 12, colour(k))
		d.text(from+18, at, atStart, name)
		from += 30 + 8*float64(len(name))
	}
	d.text(from, at, atStart, "("+c.Unit+")")
	return d
}

func sum(parts []float64) (s float64) {
	for _, v := range parts {
		s += v
	}
	return s
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
