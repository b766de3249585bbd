package main

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is rows of aligned columns. A heading that begins with ">" makes its
// column right-aligned.
type table struct {
	heads  []string
	rows   [][]cell
	indent string
}

// cell is a text that has been through clean, with the escape sequence of its colour; ""
// for none.
type cell struct{ text, color string }

func newTable(heads ...string) *table { return &table{heads: heads} }

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// plain makes cells without colour.
func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, s := range texts {
		cells[i].text = s
	}
	return cells
}

// write writes the table, two spaces between columns and none at the end of lines.
func (t *table) write(w io.Writer) error {
	right := make([]bool, len(t.heads))
	heads := make([]cell, len(t.heads))
	for i, h := range t.heads {
		heads[i].text, right[i] = strings.CutPrefix(h, ">")
	}
	rows := t.rows
	if slices.ContainsFunc(heads, func(c cell) bool { return c.text != "" }) {
		rows = append([][]cell{heads}, rows...)
	}
	widths := make([]int, len(heads))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			text := c.text
			if c.color != "" {
				text = c.color + text + reset
			}
			if i > 0 {
				line.WriteString("  ")
			}
			if right[i] {
				line.WriteString(pad + text)
			} else {
				line.WriteString(text + pad)
			}
		}
		b.WriteString(strings.TrimRight(t.indent+line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
