package table

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCells(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
	}{
		{"", 0}, {"abc", 3}, {"añb", 3}, {"ん", 2}, {"無線LAN", 7}, {"e\u0301", 1}, {"👩‍💻", 2}, {"▁▂█", 3}, {"…", 1}, {"я", 1},
	} {
		if got := Cells(tt.text); got != tt.want {
			t.Errorf("%q takes %d cells, want %d", tt.text, got, tt.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"a", 1, "a"}, {"abc", 0, ""}, {"abc", -1, ""}, {"", 3, ""},
		{"無線LAN", 4, "無…"}, {"無線", 3, "無…"}, {"無線", 2, "…"}, {"無", 1, "…"}, {"e\u0301e\u0301e", 2, "e\u0301…"},
	} {
		if got := Cut(tt.text, tt.n); got != tt.want {
			t.Errorf("%q in %d cells: %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}

func TestPad(t *testing.T) {
	if got := Pad("無", 4) + "|" + PadLeft("無", 4) + "|" + Pad("abc", 2); got != "無  |  無|abc" {
		t.Errorf("%q", got)
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want []string
	}{
		{"one two  three", 0, []string{"one two  three"}},
		{"one two  three", 8, []string{"one two", "three"}},
		{"  one two three", 9, []string{"  one two", "  three"}},
		{"a /a/long/path b", 6, []string{"a", "/a/lon", "g/path", "b"}},
		{"無線無線", 5, []string{"無線", "無線"}},
		{"無", 1, []string{"無"}},
		{"", 5, []string{""}},
	} {
		if diff := cmp.Diff(tt.want, Fold(tt.text, tt.n)); diff != "" {
			t.Errorf("%q in %d cells (-want +got)\n%s", tt.text, tt.n, diff)
		}
	}
}

func TestTable(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  string
	}{
		{0, "NAME      COUNT  COST     WHY\nwireless      3  free     the nearest one\n\x1b[31m無線\x1b[0m         12  metered\n"},
		{80, "NAME      COUNT  COST     WHY\nwireless      3  free     the nearest one\n\x1b[31m無線\x1b[0m         12  metered\n"},
		{36, "NAME      COUNT  COST     WHY\nwireless      3  free     the neare…\n\x1b[31m無線\x1b[0m         12  metered\n"},
		{27, "NAME      COUNT  WHY\nwireless      3  the neare…\n\x1b[31m無線\x1b[0m         12\n"},
		{18, "NAME      WHY\nwireless  the nea…\n\x1b[31m無線\x1b[0m\n"},
		{12, "NAME  WHY\nwir…  the n…\n\x1b[31m無線\x1b[0m\n"},
		{11, "NAME  COUNT\nwir…      3\n\x1b[31m無線\x1b[0m     12\n"},
		{10, "NAME\nwireless\n\x1b[31m無線\x1b[0m\n"},
		{5, "NAME\nwire…\n\x1b[31m無線\x1b[0m\n"},
		{3, "NA…\nwi…\n\x1b[31m無…\x1b[0m\n"},
	} {
		tab := &Table{Width: tt.width, Columns: []Column{
			{Head: "NAME", Least: 4}, {Head: "COUNT", Right: true, Rank: 2}, {Head: "COST", Rank: 3}, {Head: "WHY", Rank: 1, Least: 6},
		}}
		tab.Add(Plain("wireless", "3", "free", "the nearest one")...)
		tab.Add(Cell{Text: "無線", Color: "\x1b[31m"}, Cell{Text: "12"}, Cell{Text: "metered"}, Cell{})
		var got strings.Builder
		if err := tab.Write(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got.String()); diff != "" {
			t.Errorf("%d cells (-want +got)\n%s", tt.width, diff)
		}
	}
}

// Folding lists of names and values loses nothing.
func TestTableFolds(t *testing.T) {
	tab := &Table{Width: 20, Columns: []Column{{}, {Fold: true, Least: 10}}}
	tab.Add(Plain("policy", "threshold since yesterday")...)
	tab.Add(Plain("mamma", "0.1.0")...)
	want := []string{"policy  threshold", "        since", "        yesterday", "mamma   0.1.0"}
	if diff := cmp.Diff(want, tab.Lines()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The columns of several tables with one row each are aligned.
func TestTableUsual(t *testing.T) {
	line := func(width int, texts ...string) string {
		tab := &Table{Width: width, Columns: []Column{{Usual: 5}, {Usual: 6, Rank: 1, Least: 3}, {Usual: 4, Right: true}}}
		tab.Add(Plain(texts...)...)
		return strings.Join(tab.Lines(), "\n")
	}
	for _, tt := range []struct{ got, want string }{
		{line(0, "a", "b", "c"), "a      b          c"},
		{line(0, "a", "longer text", "c"), "a      longer text     c"},
		{line(19, "a", "longer text", "c"), "a      longe…     c"},
		{line(16, "a", "longer text", "c"), "a      lo…     c"},
		{line(16, "a", "b", "c"), "a      b       c"},
		{line(15, "a", "b", "c"), "a         c"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// No line is wider than allowed, columns keep their order, and those that stay are more
// important than those that are left out.
func TestTableFits(t *testing.T) {
	texts := rapid.SampledFrom([]string{"", "a", "two words", "無線LAN", "e\u0301", "a-long-word-without-blanks", "one two three four five"})
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "columns")
		tab := &Table{Width: rapid.IntRange(0, 60).Draw(t, "width"), Indent: rapid.SampledFrom([]string{"", "  "}).Draw(t, "indent")}
		for range n {
			tab.Columns = append(tab.Columns, Column{
				Head: texts.Draw(t, "head"), Right: rapid.Bool().Draw(t, "right"), Rank: rapid.IntRange(0, 3).Draw(t, "rank"),
				Least: rapid.IntRange(0, 9).Draw(t, "least"), Fold: rapid.Bool().Draw(t, "fold"),
			})
		}
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			var row []Cell
			for range n {
				row = append(row, Cell{Text: texts.Draw(t, "cell")})
			}
			tab.Add(row...)
		}
		for _, l := range tab.Lines() {
			if tab.Width > 2 && Cells(l) > tab.Width {
				t.Fatalf("%d cells, of %d: %q", Cells(l), tab.Width, l)
			}
			if strings.TrimRight(l, " ") != l {
				t.Fatalf("blanks at the end: %q", l)
			}
		}
		if tab.Width != 0 {
			return
		}
		for _, row := range tab.rows { // nothing is lost
			for _, c := range row {
				if !strings.Contains(strings.Join(tab.Lines(), "\n"), c.Text) {
					t.Fatalf("%q is missing in %q", c.Text, tab.Lines())
				}
			}
		}
	})
}
