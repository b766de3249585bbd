package report

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// scale is how many pixels of a PNG are one of the drawing.
const scale = 2

// PNG renders the drawing as Portable Network Graphics, for what cannot show SVG.
func (d *Drawing) PNG() ([]byte, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("font: %w", err)
	}
	p := &painter{font: parsed, faces: map[float64]font.Face{}, to: image.NewRGBA(image.Rect(0, 0, d.width*scale, d.height*scale))}
	for _, s := range d.shapes {
		switch {
		case s.stroke != "":
			p.stroke(s)
		case s.fill != "":
			x, y, right, bottom := px(s.points[0][0]), px(s.points[0][1]), px(s.points[1][0]), px(s.points[1][1])
			p.quad([4][2]float64{{x, y}, {right, y}, {right, bottom}, {x, bottom}}, s.fill)
		default:
			if err := p.write(s); err != nil {
				return nil, err
			}
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, p.to); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// painter draws shapes into an image.
type painter struct {
	font  *opentype.Font
	faces map[float64]font.Face // by size
	area  vector.Rasterizer
	to    *image.RGBA
}

func px(v float64) float64 { return v * scale }

// stroke draws each dash of a polyline as an area.
func (p *painter) stroke(s shape) {
	half := s.thick / 2
	for _, piece := range dashes(s.points, s.dash) {
		from, to := piece[0], piece[1]
		length := math.Hypot(to[0]-from[0], to[1]-from[1])
		if length == 0 {
			continue
		}
		ux, uy := half*(to[0]-from[0])/length, half*(to[1]-from[1])/length
		if s.dash == nil { // square ends close the corners
			from, to = [2]float64{from[0] - ux, from[1] - uy}, [2]float64{to[0] + ux, to[1] + uy}
		}
		p.quad([4][2]float64{
			{px(from[0] + uy), px(from[1] - ux)}, {px(to[0] + uy), px(to[1] - ux)},
			{px(to[0] - uy), px(to[1] + ux)}, {px(from[0] - uy), px(from[1] + ux)},
		}, s.stroke)
	}
}

// quad fills an area between four corners, in pixels of the image.
func (p *painter) quad(corners [4][2]float64, colour string) {
	box := image.Rectangle{Min: p.to.Bounds().Max}
	for _, c := range corners {
		box.Min = image.Pt(min(box.Min.X, int(math.Floor(c[0]))), min(box.Min.Y, int(math.Floor(c[1]))))
		box.Max = image.Pt(max(box.Max.X, int(math.Ceil(c[0]))), max(box.Max.Y, int(math.Ceil(c[1]))))
	}
	if box = box.Intersect(p.to.Bounds()); box.Empty() {
		return
	}
	p.area.Reset(box.Dx(), box.Dy())
	for i, c := range corners {
		x, y := float32(c[0]-float64(box.Min.X)), float32(c[1]-float64(box.Min.Y))
		if i == 0 {
			p.area.MoveTo(x, y)
		} else {
			p.area.LineTo(x, y)
		}
	}
	p.area.ClosePath()
	p.area.Draw(p.to, box, image.NewUniform(parseColour(colour)), image.Point{})
}

// dashes cuts a polyline into straight pieces, as a pattern of lengths drawn and
// left out says.
func dashes(points [][2]float64, pattern []float64) (pieces [][2][2]float64) {
	k, left := 0, math.Inf(1)
	if len(pattern) > 0 {
		left = pattern[0]
	}
	for i := 1; i < len(points); i++ {
		from, to := points[i-1], points[i]
		length := math.Hypot(to[0]-from[0], to[1]-from[1])
		for at := 0.0; at < length; {
			step := min(left, length-at)
			if k%2 == 0 {
				along := func(d float64) [2]float64 {
					return [2]float64{from[0] + (to[0]-from[0])*d/length, from[1] + (to[1]-from[1])*d/length}
				}
				pieces = append(pieces, [2][2]float64{along(at), along(at + step)})
			}
			at += step
			if left -= step; left <= 0 {
				k++
				left = pattern[k%len(pattern)]
			}
		}
	}
	return pieces
}

// write draws a text, in black.
func (p *painter) write(s shape) error {
	face, ok := p.faces[s.size]
	if !ok {
		var err error
		if face, err = opentype.NewFace(p.font, &opentype.FaceOptions{Size: s.size * scale, DPI: 72}); err != nil {
			return fmt.Errorf("font: %w", err)
		}
		p.faces[s.size] = face
	}
	width := font.MeasureString(face, s.text)
	before := fixed.Int26_6(0)
	switch s.anchor {
	case atMiddle:
		before = width / 2
	case atEnd:
		before = width
	}
	x, y := int(px(s.points[0][0])), int(px(s.points[0][1]))
	d := font.Drawer{Dst: p.to, Src: image.Black, Face: face, Dot: fixed.P(x, y)}
	if !s.upward {
		d.Dot.X -= before
		d.DrawString(s.text)
		return nil
	}
	m := face.Metrics()
	ascent := m.Ascent.Ceil()
	strip := image.NewAlpha(image.Rect(0, 0, width.Ceil(), ascent+m.Descent.Ceil()))
	d.Dst, d.Src, d.Dot = strip, image.Opaque, fixed.P(0, ascent)
	d.DrawString(s.text)
	turned := image.NewAlpha(image.Rect(0, 0, strip.Rect.Dy(), strip.Rect.Dx()))
	for i := range strip.Rect.Dx() {
		for j := range strip.Rect.Dy() {
			turned.SetAlpha(j, strip.Rect.Dx()-1-i, strip.AlphaAt(i, j))
		}
	}
	place := turned.Rect.Add(image.Pt(x-ascent, y-turned.Rect.Dy()+before.Ceil()))
	draw.DrawMask(p.to, place, image.Black, image.Point{}, turned, image.Point{}, draw.Over)
	return nil
}

// parseColour reads "#rrggbb", black if it is something else.
func parseColour(s string) color.RGBA {
	c := color.RGBA{A: 255}
	_, _ = fmt.Sscanf(s, "#%02x%02x%02x", &c.R, &c.G, &c.B)
	return c
}
