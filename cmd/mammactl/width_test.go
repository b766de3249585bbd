package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
)

// onTerminal runs the program as if its output were a terminal of that width.
func onTerminal(ctx context.Context, path string, width int, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	env := map[string]string{"MAMMA_CONTROL": path}
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(k string) string { return env[k] }, location: time.UTC, version: "0.1.0", width: width}
	code = a.run(ctx, args)
	return code, out.String(), errs.String()
}

// wide returns a daemon with names whose characters take two cells, or none.
func wide() *fake {
	f := named()
	p, _ := f.answers["GET /v1/prefixes"].(control.Prefixes)
	p.Prefixes = slices.Clone(p.Prefixes)
	p.Prefixes[0].Name, p.Prefixes[1].Name = known("無線LAN"), known("mobile\u0301")
	f.answers["GET /v1/prefixes"] = p
	return f
}

// elsewhere are the commands whose output other tests look at, or which is not a table.
var elsewhere = map[string]string{
	"doctor": "TestDoctorFits", "watch": "TestScreenFits, TestLinesFit", "replay": "TestWidth of package replay",
	"get": "TestGetLines", "hosts dump": "a file, which is not folded", "run": "the program's own output", "web": "a link, which people copy",
	"profile": "a file", "version": "two short lines", "man": "a file", "completion": "a script",
}

// Every command that prints a table or sentences is looked at below.
func TestAllTablesFit(t *testing.T) {
	for _, c := range withPages((&app{}).root()) {
		name := strings.TrimSpace(strings.TrimPrefix(c.CommandPath(), "mammactl"))
		_, here := fitting[name]
		_, there := elsewhere[name]
		if name != "" && c.Runnable() && !c.HasSubCommands() && !strings.HasPrefix(name, "completion") && here == there {
			t.Errorf("whether the output of %s fits is not looked at, or twice", name)
		}
	}
}

// fitting are the commands of TestTablesFit, with their arguments.
var fitting = map[string][]string{
	"status": {"status"}, "prefixes": {"prefixes"}, "networks": {"networks"}, "interfaces": {"interfaces"}, "mptcp": {"mptcp"}, "scopes": {"scopes"},
	"policy": {"policy"}, "decisions": {"decisions"}, "explain": {"explain", "www.example.net:443"},
	"reload": {"reload"}, "set": {"set", "x"}, "forget": {"forget"},
}

// emptied is a daemon that has nothing to show.
func emptied() *fake {
	f := newFake()
	f.answers["GET /v1/prefixes"] = control.Prefixes{Now: now}
	f.answers["GET /v1/interfaces"] = control.Interfaces{Now: now}
	f.answers["GET /v1/decisions"] = control.Decisions{Now: now, Complete: true}
	f.answers["GET /v1/mptcp"] = control.Multipath{Now: now}
	f.answers["GET /v1/scopes"] = control.Scopes{Now: now}
	f.answers["GET /v1/status"] = control.Status{Now: now}
	f.answers["GET /v1/policy"] = control.Policy{Now: now}
	f.answers["POST /v1/explain"] = control.Explanation{Now: now}
	return f
}

// Every table fits the terminal. Columns are left out by their importance, and texts
// are cut or folded.
func TestTablesFit(t *testing.T) {
	plain, wide, empty := serve(t, newFake()), serve(t, wide()), serve(t, emptied())
	for name, args := range fitting {
		for _, width := range []int{40, 80, 132} {
			code, out, errs := onTerminal(t.Context(), plain, width, args...)
			if code != exitOK || errs != "" {
				t.Fatalf("%s: exit code %d, %s", name, code, errs)
			}
			golden(t, fmt.Sprintf("%s-%d", name, width), out)
		}
		for _, path := range []string{plain, wide, empty} {
			for width := 12; width < 200; width++ {
				_, out, _ := onTerminal(t.Context(), path, width, args...)
				for l := range strings.Lines(out) {
					if n := table.Cells(strings.TrimSuffix(l, "\n")); n > width {
						t.Fatalf("%s: %d cells, of %d: %q", name, n, width, l)
					}
				}
			}
		}
	}
	if _, out, _ := onTerminal(t.Context(), wide, 40, "prefixes"); !strings.Contains(out, "192.168.0.0/24") {
		t.Errorf("the most important column is left out:\n%s", out)
	}
}

// Lines that are printed one by one also fit, and their columns are aligned.
func TestLinesFit(t *testing.T) {
	for _, width := range []int{40, 80, 132} {
		var b strings.Builder
		for i := range decisions() {
			b.WriteString((&app{location: time.UTC}).line(&decisions()[i]).in(width) + "\n")
		}
		golden(t, fmt.Sprintf("decisions-follow-%d", width), b.String())
		for l := range strings.Lines(b.String()) {
			if n := table.Cells(strings.TrimSuffix(l, "\n")); n > width {
				t.Errorf("%d cells, of %d: %q", n, width, l)
			}
		}
	}
}

// doctor's texts are folded. Commands are not, because people copy them.
func TestDoctorFits(t *testing.T) {
	r := doctor.Report{Passed: 11, Findings: []doctor.Finding{{
		Severity: doctor.Problem, Subject: "10.64.0.0/10 on wwan0", Text: "replies would leave by wlan0, as there is no source rule, and its default route is in table main only",
		Evidence: "route to 192.0.2.1 from 10.64.3.9 goes by wlan0", Copes: "it asks for SO_BINDTODEVICE on each socket, which needs a capability",
		Fix: []string{"ip rule add from 10.64.3.9 lookup 101 && ip route add default via 10.64.0.1 dev wwan0 table 101"}, Lasts: "write it into a file",
	}}}
	for _, width := range []int{40, 80, 132} {
		var b strings.Builder
		if err := r.Write(&b, width); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("doctor-%d", width), b.String())
		if !strings.Contains(b.String(), r.Findings[0].Fix[0]) {
			t.Errorf("the command is not in one line:\n%s", &b)
		}
		for l := range strings.Lines(b.String()) {
			if n := table.Cells(strings.TrimSuffix(l, "\n")); n > width && !strings.Contains(l, "ip rule") && !strings.Contains(l, "make it last") {
				t.Errorf("%d cells, of %d: %q", n, width, l)
			}
		}
	}
}

// On a terminal, lines have the terminal's width, and colours unless the user does not
// want these. Otherwise they are complete and have no colours.
func TestTerminalOutput(t *testing.T) {
	path := serve(t, newFake())
	for _, tt := range []struct {
		env     map[string]string
		colored bool
	}{
		{map[string]string{"TERM": "xterm"}, true},
		{map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true}, // no-color.org: only a variable that is not empty counts
		{map[string]string{"TERM": "dumb"}, false},
	} {
		person, program := openTerminal(t)
		if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
			t.Fatal(err)
		}
		tt.env["MAMMA_CONTROL"] = path
		a := &app{in: program, out: program, err: os.Stderr, getenv: func(k string) string { return tt.env[k] }, location: time.UTC}
		if code := a.run(t.Context(), []string{"prefixes"}); code != exitOK {
			t.Fatalf("exit code %d", code)
		}
		var seen []byte
		buf := make([]byte, 4096)
		for !bytes.Contains(seen, []byte("* default")) {
			n, err := person.Read(buf)
			if err != nil {
				t.Fatalf("%v; seen: %q", err, seen)
			}
			seen = append(seen, buf[:n]...)
		}
		if got := bytes.Contains(seen, []byte("\x1b")); got != tt.colored {
			t.Errorf("%v: colours %t: %q", tt.env, got, seen)
		}
		for l := range strings.Lines(regexp.MustCompile("\x1b\\[[0-9]*m|\r").ReplaceAllString(string(seen), "")) {
			if n := table.Cells(strings.TrimSuffix(l, "\n")); n > 60 {
				t.Errorf("%d cells: %q", n, l)
			}
		}
	}
	if _, out, _ := mammactl(t.Context(), path, "prefixes"); strings.Contains(out, "\x1b") || !strings.Contains(out, "DNS") {
		t.Errorf("in a pipe:\n%s", out)
	}
}

// Every input accepts the text that is shown for intents, with the same meaning.
func TestIntentsAreReadBack(t *testing.T) {
	number := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 6), rapid.Map(rapid.Int64Range(0, 5000), func(n int64) int64 { return n * 1000 }),
		rapid.Map(rapid.Int64Range(0, 5000), func(n int64) int64 { return n << 10 }))
	rapid.Check(t, func(t *rapid.T) {
		var want intent.Set
		var in control.Intents
		for _, o := range intent.Options() {
			if rapid.Bool().Draw(t, o.String()) {
				continue
			}
			v := number.Draw(t, "value")
			want = want.With(o, v)
			word := o.Word(v)
			switch o {
			case intent.OptCategory:
				in.Category = &word
			case intent.OptFileSize:
				in.FileSize = &v
			case intent.OptDuration:
				in.Duration = &v
			case intent.OptBitrate:
				in.Bitrate = &v
			case intent.OptBurstiness:
				in.Burstiness = &word
			case intent.OptTimeliness:
				in.Timeliness = &word
			case intent.OptResilience:
				in.Resilience = &word
			}
		}
		text := intentsText(&in)
		if in == (control.Intents{}) {
			if text != unknown {
				t.Fatalf("nothing is shown as %q", text)
			}
			return
		}
		got, err := intent.Parse(text)
		if err != nil || got != want {
			t.Fatalf("%q is read as %v (%v), want %v", text, got, err, want)
		}
	})
	for text, in := range map[string]control.Intents{
		"burstiness=bulk":                      {Burstiness: known("bulk")},
		"category=bulktransfer,filesize=64KiB": {Category: known("bulktransfer"), FileSize: known(int64(65536))},
		"?":                                    {Category: known("later")},
	} {
		if got := intentsText(&in); got != text {
			t.Errorf("%q is shown, want %q", got, text)
		}
	}
}

// The daemon applies filters. If it is an older one, mammactl applies them.
func TestDecisionsFiltered(t *testing.T) {
	f := newFake()
	path := serve(t, f)
	run := func(args ...string) (out, asked string) {
		t.Helper()
		var b, errs bytes.Buffer
		env := map[string]string{"MAMMA_CONTROL": path}
		a := &app{in: strings.NewReader(""), out: &b, err: &errs, getenv: func(k string) string { return env[k] }, location: time.UTC, now: func() time.Time { return now }}
		if code := a.run(t.Context(), append([]string{"decisions"}, args...)); code != exitOK {
			t.Fatalf("%q: exit code %d, %s", args, code, &errs)
		}
		return b.String(), <-f.asked
	}
	for _, tt := range []struct {
		args  string
		asked string
		shown []string // the destinations shown
	}{
		{"--program curl", "limit=20&program=curl", []string{"www.example.net:443"}},
		{"--program 4300", "limit=20&program=4300", []string{"api.example.org:443"}},
		{"--network wwan0", "limit=20&network=wwan0", []string{"www.example.net:443", "192.0.2.7:443"}},
		{"--network wwan0 --program app -n 3", "limit=3&network=wwan0&program=app", []string{"192.0.2.7:443"}},
		{"--since 12:03:42", "after=2026-03-01T12%3A03%3A42Z&limit=10000", []string{"192.0.2.7:443", "evil"}},
		{"--since 1h -n 2", "after=2026-03-01T11%3A03%3A42Z&limit=2", []string{"www.example.net:443", "api.example.org:443", "192.0.2.7:443", "evil"}},
		{"--program nobody", "limit=20&program=nobody", nil},
	} {
		out, asked := run(strings.Fields(tt.args)...)
		if asked != tt.asked {
			t.Errorf("%s: asked %q, want %q", tt.args, asked, tt.asked)
		}
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if len(tt.shown) == 0 {
			if out != "no decisions to show\n" {
				t.Errorf("%s: %q", tt.args, out)
			}
			continue
		}
		for i, want := range tt.shown {
			if len(lines) != len(tt.shown) || !strings.Contains(lines[i], want) {
				t.Errorf("%s: shown\n%s\nwant %q", tt.args, out, tt.shown)
				break
			}
		}
	}
}

// With --json each line is an event, which a reader can process as it comes.
func TestDecisionsAsLines(t *testing.T) {
	_, out, _ := mammactl(t.Context(), serve(t, newFake()), "decisions", "--json", "--network", "wwan0")
	var seqs []uint64
	for l := range strings.Lines(out) {
		var e control.Event
		if err := json.Unmarshal([]byte(l), &e); err != nil || e.Type != control.EventDecision || !e.Time.Equal(e.Decision.Time) {
			t.Fatalf("%v: %q", err, l)
		}
		seqs = append(seqs, e.Decision.Seq)
	}
	if !slices.Equal(seqs, []uint64{1, 3}) {
		t.Errorf("decisions %d", seqs)
	}
}

// Examples also fit the indented lines of the manual.
func TestExamplesFit(t *testing.T) {
	for _, c := range withPages((&app{}).root()) {
		for l := range strings.Lines(manPage(c)) {
			l = strings.NewReplacer(`\e`, `\`, `\-`, "-", `\&`, "").Replace(strings.TrimSuffix(l, "\n"))
			if n := table.Cells(l); n > 73 && strings.Contains(c.Example, strings.TrimSpace(l)) {
				t.Errorf("%s: %d columns: %s", pageName(c), n, l)
			}
		}
	}
}
