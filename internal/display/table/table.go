package table

import (
	"io"
	"slices"
	"strings"
)

// Column says how a column of a Table is shown. The zero value has no heading, is
// aligned to the left, and is never left out or cut.
type Column struct {
	Head  string
	Right bool // aligned to the right
	// Rank says which columns are left out if there is too little room. Columns of rank
	// 0 always stay. The others are added in the order of their ranks, as long as they
	// fit. A column that does not fit is skipped, and narrower ones of higher rank may
	// still follow.
	Rank int
	// Least is the number of cells to which texts may be cut before the column is left
	// out. 0 means that they are not cut.
	Least int
	// Usual is the width of the column whatever its texts are. With it, the columns of
	// several Tables stand below each other, for instance if lines come one by one. A
	// wider text is cut if Width is limited; else it moves what follows. 0 means the
	// width of the widest text.
	Usual int
	// Fold tells that a long text goes on in further lines, instead of being cut.
	Fold bool
}

// Cell is a text without control characters, and the escape sequence of its colour, ""
// for none.
type Cell struct{ Text, Color string }

// Plain returns cells without colour.
func Plain(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, s := range texts {
		cells[i].Text = s
	}
	return cells
}

// Reset ends every colour and style (ECMA-48, SGR).
const Reset = "\x1b[0m"

// gap is the number of blanks between two columns.
const gap = 2

// Table is a list of rows with aligned columns.
type Table struct {
	Columns []Column
	Indent  string // before each line
	// Width is how many cells a line may take; 0 means no limit.
	Width int
	rows  [][]Cell
}

// Add adds a row, which has one cell for each column.
func (t *Table) Add(cells ...Cell) { t.rows = append(t.rows, cells) }

// Write writes the lines of the table.
func (t *Table) Write(w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(append(t.Lines(), ""), "\n"))
	return err
}

// Lines returns the lines of the table, without blanks at their ends. If there are
// headings, they are in the first line. No line takes more than Width cells.
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

// fit chooses the columns that are shown, and their widths.
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
	// Columns that are still too wide are cut, the widest one first.
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

// total returns the width of a line with the columns shown.
func (t *Table) total(shown []int, width func(int) int) int {
	sum := Cells(t.Indent) + gap*max(len(shown)-1, 0)
	for _, i := range shown {
		sum += width(i)
	}
	return sum
}

// row returns the lines of a row. There are several if a text is folded.
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
		used, held := Cells(t.Indent), 0 // held blanks are written only if something follows
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
			if t.Width > 0 && used+held+width > t.Width { // no column is left that could be cut further
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
