package replay

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/policy"
)

// textPrinter prints for people.
type textPrinter struct {
	out    io.Writer
	policy string
	limit  int // of differing decisions; negative: none
	width  int // of lines, in cells; 0: any

	recorded string // the recorded policy's name, or "several"
	rows     [][]string
	omitted  int
}

func (p *textPrinter) result(r *Result) error {
	switch p.recorded {
	case "", r.Recorded.Policy:
		p.recorded = r.Recorded.Policy
	default:
		p.recorded = "several"
	}
	if r.Same {
		return nil
	}
	if p.limit >= 0 && len(p.rows) >= p.limit {
		p.omitted++
		return nil
	}
	row := []string{
		strconv.Itoa(r.Line), r.Request.Now.UTC().Format("15:04:05.000"), destination(r.Request), intents(r.Request),
		choice(&r.Recorded), span(r.Recorded.Predicted), clean(r.Recorded.Reason), choice(&r.Replayed), span(r.Replayed.Predicted), clean(r.Replayed.Reason),
	}
	if p.limit < 0 { // a table of all differences would have to be held in memory
		w := &tables{out: p.out, width: p.width}
		w.cut(strings.Join(row, "  "))
		return w.err
	}
	p.rows = append(p.rows, row)
	return nil
}

func (p *textPrinter) summary(s *Summary) error {
	w := &tables{out: p.out, width: p.width}
	if len(p.rows) > 0 {
		w.table(p.rows, table.Column{Head: "LINE", Right: true, Rank: 2}, table.Column{Head: "TIME", Rank: 5}, table.Column{Head: "TO", Rank: 1, Least: 12},
			table.Column{Head: "INTENTS", Rank: 6, Least: 12}, table.Column{Head: "RECORDED"}, table.Column{Head: "PREDICTED", Right: true, Rank: 4},
			table.Column{Head: "REASON", Rank: 7, Least: 16}, table.Column{Head: "REPLAYED"}, table.Column{Head: "PREDICTED", Right: true, Rank: 4},
			table.Column{Head: "REASON", Rank: 3, Least: 16})
		if p.omitted > 0 {
			w.printf("and %d more\n", p.omitted)
		}
		w.printf("\n")
	}
	w.printf("%d decisions of %s, replayed with %s: %d the same (%s), %d differ\n",
		s.Decisions, clean(orNone(p.recorded)), p.policy, s.Same, percent(s.Same, s.Decisions), s.Decisions-s.Same)
	if a, b := s.Means(); s.Predicted > 0 {
		w.printf("Mean predicted time: %s recorded, %s replayed (one prediction for both, of %d decisions)\n", span(a), span(b), s.Predicted)
	}
	if s.Decisions == 0 {
		return w.err
	}
	var rows [][]string
	for _, n := range s.Prefixes() {
		rows = append(rows, []string{n.String(), strconv.Itoa(n.Recorded), strconv.Itoa(n.Replayed), strconv.Itoa(n.Both)})
	}
	w.printf("\n")
	w.table(rows, table.Column{Head: "PREFIX"}, number("RECORDED", 0), number("REPLAYED", 0), number("BOTH", 1))
	rows = nil
	for i, n := range s.Refusals() {
		if i == maxRefusals {
			break
		}
		rows = append(rows, []string{orNone(clean(n.Reason)), strconv.Itoa(n.Recorded), strconv.Itoa(n.Replayed)})
	}
	if len(rows) > 0 {
		w.printf("\n")
		w.table(rows, table.Column{Head: "WHY REFUSED", Least: 12}, number("RECORDED", 0), number("REPLAYED", 0))
	}
	rows = nil
	for _, n := range s.Classes() {
		rows = append(rows, []string{orNone(n.Class.Category), orNone(n.Class.Size.String()), strconv.Itoa(n.Decisions), strconv.Itoa(n.Same), percent(n.Same, n.Decisions)})
	}
	w.printf("\n")
	w.table(rows, table.Column{Head: "CATEGORY"}, table.Column{Head: "SIZE"}, number("DECISIONS", 0), number("SAME", 2), number("AGREEMENT", 1))
	rows = nil
	for i, m := range s.Moves() {
		if i == maxMoves {
			break
		}
		rows = append(rows, []string{
			strconv.Itoa(m.Count), m.From.String(), m.To.String(), orNone(m.Class.Category), orNone(m.Class.Size.String()),
			strconv.Itoa(m.Line), clean(m.RecordedReason), clean(m.ReplayedReason),
		})
	}
	if len(rows) > 0 {
		w.printf("\nWhere they differ most, with the first of each:\n")
		w.table(rows, number("COUNT", 1), table.Column{Head: "FROM"}, table.Column{Head: "TO"}, table.Column{Head: "CATEGORY", Rank: 2},
			table.Column{Head: "SIZE", Rank: 3}, number("LINE", 4), table.Column{Head: "RECORDED REASON", Rank: 6, Least: 16}, table.Column{Head: "REPLAYED REASON", Rank: 5, Least: 16})
	}
	return w.err
}

// maxRefusals bounds the reasons for refusals that are shown.
const maxRefusals = 10

// maxMoves bounds the ways to differ that are shown.
const maxMoves = 10

func destination(r *policy.Request) string {
	switch {
	case r.Remote.IsValid():
		return r.Remote.String()
	case r.Service != "":
		return clean(r.Host) + ":" + clean(r.Service)
	}
	return orNone(clean(r.Host))
}

func intents(r *policy.Request) string { return orNone(r.Intents.String()) }

func choice(c *Choice) string {
	if c.Refused {
		return "refused"
	}
	text := prefixName(c.Prefix)
	if c.Reused {
		text += fmt.Sprintf(" reuse %d", c.FD)
	}
	if c.Multipath {
		text += " mptcp"
	}
	return text
}

// prefixName returns the name of a prefix for a table; "-" means no preference.
func prefixName(id policy.PrefixID) string {
	if id == (policy.PrefixID{}) {
		return "-"
	}
	return clean(id.String())
}

func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clean removes control characters, because names from programs may contain anything.
func clean(s string) string { return display.Clean(s) }

// number makes a column of numbers.
func number(head string, rank int) table.Column {
	return table.Column{Head: head, Right: true, Rank: rank}
}

// tables prints until the first error.
type tables struct {
	out   io.Writer
	width int // of lines, in cells; 0: any
	err   error
}

// printf prints lines. It folds those that are too wide.
func (t *tables) printf(format string, args ...any) {
	if t.err != nil {
		return
	}
	for l := range strings.Lines(fmt.Sprintf(format, args...)) {
		text := strings.Join(table.Fold(strings.TrimSuffix(l, "\n"), t.width), "\n") + "\n"
		if _, err := io.WriteString(t.out, text); err != nil {
			t.err = err
			return
		}
	}
}

// cut prints a line. It cuts a line that is too wide.
func (t *tables) cut(line string) {
	if t.width > 0 {
		line = table.Cut(line, t.width)
	}
	if t.err == nil {
		_, t.err = io.WriteString(t.out, line+"\n")
	}
}

// table prints aligned columns.
func (t *tables) table(rows [][]string, columns ...table.Column) {
	tab := table.Table{Columns: columns, Width: t.width}
	for _, row := range rows {
		tab.Add(table.Plain(row...)...)
	}
	if t.err == nil {
		t.err = tab.Write(t.out)
	}
}
