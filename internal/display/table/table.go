package table

import (
	"io"
	"slices"
	"strings"
)

// Column is how a column of a Table is shown. The zero value has no heading, is
// aligned to the left, and stays whole.
type Column struct {
	Head  string
	Right bool // aligned to the right
	// Rank tells which columns there is room for: those with 0 stay, then come those with
	// low ranks. Where there is room for a column no more, one of higher rank that is
	// narrower may still be shown.
	Rank int
	// Least is to how many cells texts may be cut before a column is left out; 0: they
	// are not cut.
	Least int
	// Usual is the width that columns of Tables alike have in common, whatever their texts
	// are: lines that come one by one stand below each other. Without a limit to Width, wider
	// texts move what follows them. 0: the width is that of the widest text.
	Usual int
	// Fold has texts go on in further lines of the column in place of being cut.
	Fold bool
}

// Cell is a text without control characters, and the escape sequence of its colour; ""
// for none.
type Cell struct{ Text, Color string }

// Plain makes cells without colour.
func Plain(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, s := range texts {
		cells[i].Text = s
	}
	return cells
}

// Reset ends every colour and style (ECMA-48, SGR).
const Reset = "\x1b[0m"

// gap is between two columns.
const gap = 2

// Table is rows of aligned columns.
type Table struct {
	Columns []Column
	Indent  string // before each line
	// Width is how many cells a line may have; 0: any number.
	Width int
	rows  [][]Cell
}

// Add adds a row, a cell for each column.
func (t *Table) Add(cells ...Cell) { t.rows = append(t.rows, cells) }

// Write writes the lines of the table.
func (t *Table) Write(w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(append(t.Lines(), ""), "\n"))
	return err
}

// Lines returns the lines of the table, without blanks at their ends. The first one
// holds the headings if there are any. None has more than Width cells.
func (t *Table) Lines() []string {
	heads := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		heads[i].Text = c.Head
	}
	rows := t.rows
	if slices.ContainsFunc(heads, func(c Cell) bool { return c.Text != "" }) {
		rows = append([][]Cell{heads}, rows...)
	}
	shown, widths := t.fit(rows)
	var lines []string
	for _, row := range rows {
		lines = append(lines, t.row(row, shown, widths)...)
	}
	return lines
}

// fit chooses the columns that are shown, and how wide each is.
func (t *Table) fit(rows [][]Cell) (shown, widths []int) {
	widths = make([]int, len(t.Columns))
	for i, c := range t.Columns {
		if widths[i] = c.Usual; c.Usual > 0 && t.Width > 0 {
			continue
		}
		for _, row := range rows {
			widths[i] = max(widths[i], Cells(row[i].Text))
		}
	}
	order := make([]int, len(t.Columns)) // the most important column first
	for i := range order {
		order[i] = i
	}
	if t.Width <= 0 {
		return order, widths
	}
	least := func(i int) int {
		if n := t.Columns[i].Least; n > 0 {
			return min(n, widths[i])
		}
		return widths[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return t.Columns[a].Rank - t.Columns[b].Rank })
	for _, i := range order {
		if more := append(slices.Clone(shown), i); t.Columns[i].Rank == 0 || t.total(more, least) <= t.Width {
			shown = more
		}
	}
	slices.Sort(shown)
	// What is still too wide is cut, the widest first.
	for excess := t.total(shown, func(i int) int { return widths[i] }) - t.Width; excess > 0; excess-- {
		widest := -1
		for _, i := range shown {
			if widths[i] > least(i) && (widest < 0 || widths[i] >= widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return shown, widths
}

// total is the width of a line with the columns shown.
func (t *Table) total(shown []int, width func(int) int) int {
	sum := Cells(t.Indent) + gap*max(len(shown)-1, 0)
	for _, i := range shown {
		sum += width(i)
	}
	return sum
}

// row returns the lines of a row: one, or more where a text is folded.
func (t *Table) row(row []Cell, shown, widths []int) []string {
	parts := make([][]string, len(shown)) // the lines of each column
	height := 1
	for at, i := range shown {
		if t.Columns[i].Fold {
			parts[at] = Fold(row[i].Text, widths[i])
		} else {
			parts[at] = []string{Cut(row[i].Text, widths[i])}
		}
		height = max(height, len(parts[at]))
	}
	lines := make([]string, 0, height)
	for n := range height {
		var b strings.Builder
		b.WriteString(t.Indent)
		used, held := Cells(t.Indent), 0 // held are blanks that stand only before something
		for at, i := range shown {
			if at > 0 {
				held += gap
			}
			text := ""
			if n < len(parts[at]) {
				text = parts[at][n]
			}
			width := Cells(text)
			pad := max(widths[i]-width, 0)
			if t.Columns[i].Right {
				held, pad = held+pad, 0
			}
			if text == "" {
				held += pad
				continue
			}
			if t.Width > 0 && used+held+width > t.Width { // nothing that may give way is left
				text = Cut(text, t.Width-used-held)
				width, pad = Cells(text), 0
			}
			if text == "" {
				break
			}
			b.WriteString(blanks(held))
			if c := row[i].Color; c != "" {
				text = c + text + Reset
			}
			b.WriteString(text)
			used, held = used+held+width, pad
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}
