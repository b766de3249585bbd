package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/display/terminal"
)

// columns returns the number of cells in a line on standard output; 0 means any number,
// for pipes and files.
func (a *app) columns() int {
	if a.width > 0 {
		return a.width
	}
	if fd, tty := terminal.Of(a.out); tty {
		width, _ := terminal.Size(fd)
		return width
	}
	return 0
}

// table makes a table that fits standard output.
func (a *app) table(columns ...table.Column) *table.Table {
	return &table.Table{Columns: columns, Width: a.columns()}
}

// status shows on a terminal how far a task is that a person waits for. Call Stop at
// its end.
func (a *app) status(text func(elapsed time.Duration) string) *terminal.Status {
	return terminal.Show(a.err, a.getenv, text)
}

// leastFold is the least width at which a text is folded; narrower columns are cut
// instead.
const leastFold = 12

// pairs makes a table of names and values that fits standard output.
func (a *app) pairs() *table.Table {
	return a.table(table.Column{}, table.Column{Fold: true, Least: leastFold})
}

// add adds a row to a table of pairs.
func add(t *table.Table, name, format string, args ...any) {
	t.Add(table.Plain(name, fmt.Sprintf(format, args...))...)
}

// fold breaks the lines of a text, so that each has at most width cells; 0 means any
// number.
func fold(text string, width int) string {
	if width <= 0 {
		return text
	}
	var b strings.Builder
	for l := range strings.Lines(text) {
		b.WriteString(strings.Join(table.Fold(strings.TrimSuffix(l, "\n"), width), "\n"))
		if strings.HasSuffix(l, "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
