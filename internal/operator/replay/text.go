package replay

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/policy"
)

// textPrinter prints for people.
type textPrinter struct {
	out    io.Writer
	policy string
	limit  int // of differing decisions; negative: none

	recorded string // the policy of the recording, "several" if they are
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
	if p.limit < 0 { // a table of any number of rows would have to be held in memory
		_, err := fmt.Fprintln(p.out, strings.Join(row, "  "))
		return err
	}
	p.rows = append(p.rows, row)
	return nil
}

func (p *textPrinter) summary(s *Summary) error {
	w := &tables{out: p.out}
	if len(p.rows) > 0 {
		w.table("LINE> TIME TO INTENTS RECORDED PREDICTED> REASON REPLAYED PREDICTED> REASON", p.rows)
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
	w.table("PREFIX RECORDED> REPLAYED> BOTH>", rows)
	rows = nil
	for i, n := range s.Refusals() {
		if i == maxRefusals {
			break
		}
		rows = append(rows, []string{orNone(clean(n.Reason)), strconv.Itoa(n.Recorded), strconv.Itoa(n.Replayed)})
	}
	if len(rows) > 0 {
		w.printf("\n")
		w.table("WHY-REFUSED RECORDED> REPLAYED>", rows)
	}
	rows = nil
	for _, n := range s.Classes() {
		rows = append(rows, []string{orNone(n.Class.Category), orNone(n.Class.Size.String()), strconv.Itoa(n.Decisions), strconv.Itoa(n.Same), percent(n.Same, n.Decisions)})
	}
	w.printf("\n")
	w.table("CATEGORY SIZE DECISIONS> SAME> AGREEMENT>", rows)
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
		w.table("COUNT> FROM TO CATEGORY SIZE LINE> RECORDED-REASON REPLAYED-REASON", rows)
	}
	return w.err
}

// maxRefusals is how many reasons for refusals are shown.
const maxRefusals = 10

// maxMoves is how many ways to differ are shown.
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

func intents(r *policy.Request) string {
	var list []string
	if c, given := r.Intents.Category(); given {
		list = append(list, c.String())
	}
	if n, given := r.Intents.FileSize(); given {
		list = append(list, byteSize(n))
	}
	return orNone(strings.Join(list, " "))
}

func byteSize(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.3gGB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.3gMB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.3gkB", float64(n)/1e3)
	}
	return strconv.FormatInt(n, 10) + "B"
}

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

// prefixName is the name of a prefix in a table; "-" stands for no preference.
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

// clean removes control characters: names come from programs and may hold anything.
func clean(s string) string { return display.Clean(s) }

// tables prints until the first error.
type tables struct {
	out io.Writer
	err error
}

func (t *tables) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format, args...)
	}
}

// table prints aligned columns; headings that end with ">" stand over columns
// aligned to the right, and "-" in a heading is a space.
func (t *tables) table(headings string, rows [][]string) {
	heads := strings.Fields(headings)
	widths := make([]int, len(heads))
	right := make([]bool, len(heads))
	for i, h := range heads {
		heads[i], right[i] = strings.CutSuffix(strings.ReplaceAll(h, "-", " "), ">")
	}
	all := append([][]string{heads}, rows...)
	for _, row := range all {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, text := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if right[i] {
				text = pad + text
			} else {
				text += pad
			}
			line.WriteString(text + "  ")
		}
		t.printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}
