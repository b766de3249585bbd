package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/placement"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// typed is a command in a transcript, with the output that the transcript shows.
type typed struct {
	command string
	shown   []string
}

// transcripts returns all commands that a page shows after a prompt.
func transcripts(page string) []typed {
	var list []typed
	for _, block := range regexp.MustCompile("(?s)\n```[a-z]*\n(.*?)```").FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(block[1], "$ ") {
			continue
		}
		for l := range strings.Lines(block[1]) {
			l = strings.TrimSuffix(l, "\n")
			if command, ok := strings.CutPrefix(l, "$ "); ok {
				list = append(list, typed{command: command})
			} else {
				last := &list[len(list)-1]
				last.shown = append(last.shown, l)
			}
		}
	}
	return list
}

var (
	varying = regexp.MustCompile(`[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+|[0-9.]+ ms|\[[0-9]+\]|:[0-9]{4,5}\b`) // times, process ids, ports
	spaces  = regexp.MustCompile(` +`)
)

// same returns a pattern for lines that differ from line only in what differs each
// time. The width of columns does not matter, because it depends on their contents.
func same(line string) *regexp.Regexp {
	line = regexp.QuoteMeta(varying.ReplaceAllString(spaces.ReplaceAllString(line, " "), "~"))
	return regexp.MustCompile("^" + strings.ReplaceAll(line, `\.\.\.`, ".*") + "$")
}

// differs tells where the output differs from the transcript. A busy machine may repeat
// a command, for lack of a decision in time, which leaves more lines than shown. So
// every line must be one of those shown, and the shown ones must come in their order.
func differs(shown []string, said string) error {
	next := 0
	for l := range strings.Lines(said) {
		l = varying.ReplaceAllString(spaces.ReplaceAllString(strings.TrimSuffix(l, "\n"), " "), "~")
		known := false
		for _, s := range shown {
			known = known || same(s).MatchString(l)
		}
		if !known {
			return fmt.Errorf("%q is not shown", l)
		}
		if next < len(shown) && same(shown[next]).MatchString(l) {
			next++
		}
	}
	if next < len(shown) {
		return fmt.Errorf("%q is not said, or not in its place", shown[next])
	}
	return nil
}

func TestDiffers(t *testing.T) {
	shown := []string{`22:51:08.883  a[8645]  ->  wifi  0.07 ms`, `{...,"network":"lte","client":"10.64.3.9:47874",...}`}
	for _, tt := range []struct {
		said string
		ok   bool
	}{
		{"01:02:03.4 a[1] -> wifi 12 ms\n" + `{"x":1,"network":"lte","client":"10.64.3.8:5000","y":2}` + "\n", false},
		{"01:02:03.4 a[1] -> wifi 12 ms\n" + `{"x":1,"network":"lte","client":"10.64.3.9:5000","y":2}` + "\n", true},
		{"01:02:03.4 a[1] -> lte 12 ms\n" + `{"x":1,"network":"lte","client":"10.64.3.9:5000","y":2}` + "\n", false},
		{"01:02:03.4 a[1] -> wifi 12 ms\n", false},
		{`{"x":1,"network":"lte","client":"10.64.3.9:5000","y":2}` + "\n01:02:03.4 a[1] -> wifi 12 ms\n", false},
		{"", false},
	} {
		if err := differs(shown, tt.said); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.said, err)
		}
	}
}

// The commands in README's transcripts print what README shows.
func TestReadme(t *testing.T) {
	for _, program := range []string{"curl", "grep"} {
		if _, err := exec.LookPath(program); err != nil {
			testbed.SkipOrFail(t, fmt.Errorf("%w: needs the program %s", testbed.ErrUnavailable, program))
		}
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	list := transcripts(string(page))
	if len(list) < 8 || list[0].command != "make playground" || list[len(list)-1].command != "exit" {
		t.Fatalf("the transcripts are not one visit of the playground: %q", list)
	}

	// The playground's shell reads the commands as if from a terminal. A command in the
	// background prints nothing, and the test waits for it. A fetch is repeated until
	// its network is the one shown, because a client on a busy machine may not wait for
	// a decision.
	dir := t.TempDir()
	t.Setenv("SHELL", "/bin/sh")
	t.Setenv("CURL_HOME", dir) // makes curl as quiet as it is on a terminal
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte("silent\nmax-time = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := func(i int) string { return filepath.Join(dir, fmt.Sprint("said", i)) }
	network := regexp.MustCompile(`"network":"[a-z]+"`)
	var script strings.Builder
	script.WriteString("again() { i=0; until \"$@\"; do i=$((i+1)); test $i -lt 200 || exit 1; sleep 0.1; done; }\n")
	for i, c := range list[1 : len(list)-1] {
		switch {
		case strings.HasSuffix(c.command, "&"):
			ready := map[string]string{"mamma": "mammactl status", "muacsocksd": "curl http://127.0.0.1:9050/"}[strings.Fields(c.command)[0]]
			fmt.Fprintf(&script, "%s >%s 2>&1 &\nagain %s >/dev/null 2>&1\n", strings.TrimSuffix(c.command, "&"), said(i), ready)
		case len(c.shown) == 1 && network.MatchString(c.shown[0]):
			fmt.Fprintf(&script, "fetch%d() { %s </dev/null >%s; grep -q '%s' %[3]s; }\nagain fetch%[1]d\n", i, c.command, said(i), network.FindString(c.shown[0]))
		default:
			fmt.Fprintf(&script, "%s </dev/null >%s\n", c.command, said(i))
		}
	}
	script.WriteString("exit\n")
	var out, log strings.Builder
	if err := shell(t.Context(), dir, "", nil, strings.NewReader(script.String()), &out, &log); err != nil {
		if errors.Is(err, testbed.ErrUnavailable) {
			testbed.SkipOrFail(t, err)
		}
		if o, _ := placement.Probe("/proc/self/exe"); o != nil {
			testbed.SkipOrFail(t, fmt.Errorf("%w: programs cannot be placed here: %w", testbed.ErrUnavailable, o.Err))
		}
		t.Fatalf("%v\n%s%s", err, &out, &log)
	}
	if err := differs(list[0].shown, out.String()); err != nil {
		t.Errorf("%s: %v", list[0].command, err)
	}
	for i, c := range list[1 : len(list)-1] {
		got, err := os.ReadFile(said(i))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(c.command, "&") && len(c.shown) == 0 {
			// Logs of success are not shown. A warning would stop a reader.
			if bytes.Contains(got, []byte("level=WARN")) || bytes.Contains(got, []byte("level=ERROR")) {
				t.Errorf("%s warns:\n%s", c.command, got)
			}
			continue
		}
		if err := differs(c.shown, string(got)); err != nil {
			t.Errorf("%s: %v; it said\n%s", c.command, err, got)
		}
	}
}

// The figures in README are also in the page that README refers to.
func TestReadmeFigures(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := os.ReadFile("../evaluate/README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`takes ([0-9.]+) s\s+with the policy .adaptive. and ([0-9.]+ s)`).FindSubmatch(readme)
	if m == nil {
		t.Fatal("README has no figure")
	}
	line := regexp.MustCompile(`(?m)^\| E2 .*P1 [0-9.]+, [0-9.]+, ([0-9.]+) s of ([0-9.]+ s)`).FindSubmatch(pages)
	if line == nil || string(line[1]) != string(m[1]) || string(line[2]) != string(m[2]) {
		t.Errorf("README says %s of %s, the evaluation %q", m[1], m[2], line)
	}
}
