// Package man tests that the manual pages tell what the programs do: every flag,
// every setting, every policy.
package man

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/network/resolve"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

var update = flag.Bool("update", false, "write what the pages take over from elsewhere into them")

// roff makes text that the formatter takes as it is.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

// known are the names of a policy's settings, which the error about an unknown one
// lists.
func known(t *testing.T, name string, wrong func(*policy.Config, policy.Setting)) []string {
	t.Helper()
	c := policy.Config{Name: name}
	if name == "score" { // which does not go without
		c.Settings = []policy.Setting{{Name: "minimize", Expr: "1", Value: "1", Constant: true}}
	}
	wrong(&c, policy.Setting{Name: "no such", Expr: "1", Value: "1", Constant: true})
	_, err := policies.All().New(name, c)
	var unknown *policy.UnknownSettingError
	if !errors.As(err, &unknown) {
		t.Fatalf("%s: %v", name, err)
	}
	return slices.Sorted(slices.Values(unknown.Known))
}

// list is the policies with their settings. Measurements, which most policies take
// as fixed figures, are listed once.
func list(t *testing.T) string {
	t.Helper()
	ofPrefix := func(c *policy.Config, s policy.Setting) { c.PrefixSettings = append(c.PrefixSettings, s) }
	measurements := known(t, "adaptive", ofPrefix) // which takes nothing else
	var out strings.Builder
	for _, name := range policies.All().Names() {
		own := known(t, name, func(c *policy.Config, s policy.Setting) { c.Settings = append(c.Settings, s) })
		prefix := known(t, name, ofPrefix)
		without := slices.DeleteFunc(slices.Clone(prefix), func(s string) bool { return slices.Contains(measurements, s) })
		if len(without) < len(prefix) {
			without = append(without, "measurements")
		}
		fmt.Fprintf(&out, ".TP\n.I %s\n", roff(name))
		switch {
		case len(own) > 0 && len(without) > 0:
			fmt.Fprintf(&out, "%s; of a prefix: %s\n", roff(strings.Join(own, ", ")), roff(strings.Join(without, ", ")))
		case len(own) > 0:
			fmt.Fprintf(&out, "%s\n", roff(strings.Join(own, ", ")))
		case len(without) > 0:
			fmt.Fprintf(&out, "of a prefix: %s\n", roff(strings.Join(without, ", ")))
		default:
			out.WriteString("no settings\n")
		}
	}
	fmt.Fprintf(&out, ".PP\nA prefix may be given figures that replace what is measured. A number is in the unit that the list gives. A text may have "+
		"another one: \\(dq20ms\\(dq or \\(dq1.5s\\(dq for ms, \\(dq300M\\(dq or \\(dq64KiB\\(dq for B, \\(dq10Mbit/s\\(dq or \\(dq1.25MB/s\\(dq for B/s. So may "+
		"sizes, times and rates among the settings above. The names are\n%s.\n", roff(strings.Join(withUnits(t, measurements), ", ")))
	return out.String()
}

// withUnits puts its unit after each measurement that has one.
func withUnits(t *testing.T, names []string) []string {
	t.Helper()
	if all := policy.MetricNames(); len(names) != len(all) {
		t.Errorf("%d names of %d measurements", len(names), len(all))
	}
	var list []string
	for _, name := range names {
		m, ok := policy.ParseMetric(name)
		if !ok {
			t.Errorf("%s is not a measurement", name)
		}
		if symbol := m.Symbol(); symbol != "" {
			name += " (" + symbol + ")"
		}
		list = append(list, name)
	}
	return list
}

// options are the options of resolv.conf(5), each with its effect.
func options() string {
	var out strings.Builder
	for _, o := range resolve.ConfOptions() {
		done := "Done"
		if !o.Done {
			done = "Not done"
		}
		fmt.Fprintf(&out, ".TP\n.I %s\n%s: %s.\n", roff(o.Name), done, roff(o.Note))
	}
	return out.String()
}

// specialNames are the domains about which name servers are not asked.
func specialNames() string {
	var out strings.Builder
	for _, n := range resolve.SpecialNames() {
		what := "No name in the domain exists"
		if n.Loopback {
			what = "Every name in the domain is this host"
		}
		fmt.Fprintf(&out, ".TP\n.I %s\n%s (%s). Servers are asked: %s.\n", roff(n.Domain), what, roff(n.Source), roff(n.Unless))
	}
	return out.String()
}

// Reference files and the list of policies are in the pages as they are.
func TestPagesTakeOver(t *testing.T) {
	reference := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for l := range strings.Lines(string(b)) {
			out.WriteString(roff(strings.TrimRight(l, "\n")) + "\n")
		}
		return out.String()
	}
	for _, tt := range []struct{ page, marker, text string }{
		{"mamma.conf.5", "reference", reference("../../internal/config/reference.hcl")},
		{"mamma.conf.5", "options", options()},
		{"mamma.conf.5", "special names", specialNames()},
		{"muacsocksd.8", "reference", reference("../../internal/proxy/reference.hcl")},
		{"mamma-policy.7", "policies", list(t)},
	} {
		b, err := os.ReadFile(tt.page)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := `.\" `+tt.marker+" begin\n", `.\" `+tt.marker+" end\n"
		before, rest, ok := strings.Cut(string(b), begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s: no markers of %s", tt.page, tt.marker)
		}
		want := before + begin + tt.text + end + after
		if want == string(b) {
			continue
		}
		if !*update {
			t.Errorf("%s has another %s than the sources: go test ./doc/man -update", tt.page, tt.marker)
		} else if err := os.WriteFile(tt.page, []byte(want), 0o644); err != nil { //nolint:gosec // for everybody
			t.Fatal(err)
		}
	}
}

// Each intent is in the section about intents, with all its words.
func TestIntents(t *testing.T) {
	b, err := os.ReadFile("mamma-policy.7")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n.SH INTENTS\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	for _, o := range intent.Options() {
		_, about, there := strings.Cut(section, "\n.TP\n.B "+o.String()+"\n")
		about, _, _ = strings.Cut(about, "\n.TP\n")
		if !there {
			t.Errorf("no entry about %v", o)
		}
		for _, word := range o.Words() {
			if !slices.Contains(strings.FieldsFunc(about, func(r rune) bool { return !unicode.IsLetter(r) }), word) {
				t.Errorf("%v: no word about %s", o, word)
			}
		}
	}
}

var (
	inHelp = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z-]+)`)
	inPage = regexp.MustCompile(`(?m)^\.B[IR]? .*?(\\-\\-[a-z\\-]+)`)
)

// flags are the flags in text, sorted.
func flags(text string, form *regexp.Regexp) []string {
	var out []string
	for _, m := range form.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(m[1], `\`, ""))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestFlags(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds two programs")
	}
	bin := t.TempDir()
	programs := []string{"mamma", "muacsocksd"}
	for _, name := range programs {
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin+"/", "../../cmd/"+name) //nolint:gosec // our own
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", build, err, out)
		}
		var help bytes.Buffer
		cmd := exec.Command(filepath.Join(bin, name), "--help") //nolint:gosec // our own
		cmd.Stdout = &help
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(name + ".8")
		if err != nil {
			t.Fatal(err)
		}
		_, list, ok := strings.Cut(help.String(), "Flags:\n")
		_, options, ok2 := strings.Cut(string(page), ".SH OPTIONS\n")
		if !ok || !ok2 {
			t.Fatalf("%s: no list of flags", name)
		}
		options, _, _ = strings.Cut(options, ".SH ")
		want, got := fmt.Sprint(flags(list, inHelp)), fmt.Sprint(flags(options, inPage))
		if len(want) < 20 || got != want {
			t.Errorf("%s.8 has %v, --help has %v", name, got, want)
		}
	}
}

// The pages use nothing but what every formatter knows, and no line of text is
// taken for a request.
func TestFormat(t *testing.T) {
	pages, err := filepath.Glob("*.[1-8]")
	if err != nil || len(pages) != 5 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	request := regexp.MustCompile(`^\.(TH|SH|SS|TP|PP|B|I|BI|BR|RB|IR|RI|nf|fi|br|\\")( |$)`)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for l := range strings.Lines(string(b)) {
			n++
			l = strings.TrimRight(l, "\n")
			if strings.HasPrefix(l, "'") || strings.HasPrefix(l, ".") && !request.MatchString(l) {
				t.Errorf("%s:%d: %q is not a request of man(7) that is used here", page, n, l)
			}
		}
		if !strings.HasPrefix(string(b), ".TH "+strings.ToUpper(strings.TrimSuffix(page, filepath.Ext(page)))+" "+page[len(page)-1:]+" ") {
			t.Errorf("%s: has another title", page)
		}
	}
}

// renderers are programs that show a page, with what makes them do so for a terminal of 80
// columns.
var renderers = [][]string{
	{"groff", "-man", "-Tutf8", "-P-cbou", "-rLL=80n"},
	{"mandoc", "-Tutf8", "-Owidth=80"},
}

// Examples and tables are not broken into lines by the formatter: they fit into a terminal
// of 80 columns as they are.
func TestWidth(t *testing.T) {
	const columns, indent = 80, 7
	pages, err := filepath.Glob("*.[1-8]")
	if err != nil {
		t.Fatal(err)
	}
	unroff := strings.NewReplacer(`\e`, `\`, `\-`, "-", `\&`, "")
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		n, literal := 0, false
		for l := range strings.Lines(string(b)) {
			n++
			l = strings.TrimRight(l, "\n")
			switch {
			case l == ".nf":
				literal = true
			case l == ".fi":
				literal = false
			case literal && !strings.HasPrefix(l, "."):
				if wide := indent + utf8.RuneCountInString(unroff.Replace(l)); wide > columns {
					t.Errorf("%s:%d: %d columns: %s", page, n, wide, l)
				}
			}
		}
	}
	var command []string
	for _, r := range renderers {
		if _, err := exec.LookPath(r[0]); err == nil {
			command = r
			break
		}
	}
	if command == nil {
		t.Skip("needs groff or mandoc to see the pages as readers do")
	}
	for _, page := range pages {
		cmd := exec.Command(command[0], append(slices.Clone(command[1:]), page)...) //nolint:gosec // our own
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		n, lines := 0, 0
		for l := range strings.Lines(string(out)) {
			n++
			l = strings.TrimRight(l, "\n")
			if strings.TrimSpace(l) != "" {
				lines++
			}
			if wide := utf8.RuneCountInString(l); wide > columns {
				t.Errorf("%s, line %d as it is shown: %d columns: %s", page, n, wide, l)
			}
		}
		if lines < 50 {
			t.Errorf("%s: %d lines are shown:\n%s", page, lines, out)
		}
	}
}

// Every page says what of it is stable, from which version on, and under which licence
// it is, as README does.
func TestStatus(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`Version ([0-9.]+) is being prepared\. Stable from then on`).FindSubmatch(readme)
	if m == nil || !strings.Contains(string(readme), "BSD 3-Clause") {
		t.Fatal("README says otherwise")
	}
	pages, err := filepath.Glob("*.[1-8]")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../../cmd/mammactl/testdata/mammactl.1.golden", "../../cmd/mammactl/testdata/mammactl-explain.1.golden")
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\n.SH STATUS\nStable from version " + string(m[1]) + " on: ", "\n.SH LICENCE\nBSD 3\\-Clause"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s: no %q", page, want)
			}
		}
	}
}
