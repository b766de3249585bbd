// Tally runs "go test -json". It prints what go test would print, and also how many
// tests were skipped, and why. With --total it runs nothing, and adds up what earlier
// runs have noted in a folder.
//
//	tally --note build/skipped/test -- go test -race ./...
//	tally --note build/skipped/evaluate --program -- go run ./tests/evaluate --quick
//	tally --total build/skipped
//
// With --program it runs any program. Each line of the program's output that begins
// with "SKIPPED: " counts as a skipped test. The reason follows on that line.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/testing/required"
)

func main() {
	note := flag.String("note", "", "write what was skipped to this `file`")
	program := flag.Bool("program", false, "what follows is not a go test")
	total := flag.String("total", "", "add up what was noted in this `folder`")
	flag.Parse()
	var err error
	switch {
	case *total != "" && flag.NArg() == 0 && *note == "":
		err = sum(os.Stdout, *total)
	case *total == "" && *program && flag.NArg() > 0:
		err = perform(os.Stdout, *note, flag.Args())
	case *total == "" && flag.NArg() > 2:
		err = test(os.Stdout, *note, flag.Args())
	default:
		err = errors.New("either --total FOLDER, or [--note FILE] -- go test [FLAG...] PACKAGE, or [--note FILE] --program -- PROGRAM [ARGUMENT...]")
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(1, exit.ExitCode()))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// test runs "go test" and returns its result.
func test(w io.Writer, note string, args []string) error {
	at := 2
	if len(args) > 4 && args[2] == "-C" { // must be the first flag
		at = 4
	}
	r := &reader{out: w, outputs: map[id][]string{}}
	if err := pipe(slices.Insert(slices.Clone(args), at, "-json"), r.read); err != nil {
		return err
	}
	return r.tally.write(note)
}

// skipMark begins the lines by which a program tells what it leaves out.
const skipMark = "SKIPPED: "

// perform runs a program, prints its output and returns its result.
func perform(w io.Writer, note string, args []string) error {
	var t tally
	err := pipe(args, func(in io.Reader) error {
		lines := bufio.NewReader(in)
		for {
			line, err := lines.ReadString('\n')
			if reason, ok := strings.CutPrefix(line, skipMark); ok {
				t.Skipped = append(t.Skipped, skip{Test: strings.Join(args, " "), Reason: strings.TrimSpace(reason)})
			}
			_, writeErr := io.WriteString(w, line)
			switch {
			case err == io.EOF:
				return writeErr
			case err != nil || writeErr != nil:
				return errors.Join(err, writeErr)
			}
		}
	})
	if err != nil {
		return err
	}
	return t.write(note)
}

// pipe runs a program and calls read with its standard output.
func pipe(args []string, read func(io.Reader) error) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := read(out)
	if readErr != nil {
		_, _ = io.Copy(io.Discard, out) // lets the program end
	}
	return errors.Join(cmd.Wait(), readErr)
}

// write writes t to the file note. If note is empty, it writes nothing.
func (t tally) write(note string) error {
	if note == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(note), 0o777); err != nil {
		return err
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(note, b, 0o666)
}

// tally has the results of the tests of one or more runs.
type tally struct {
	Passed  int
	Skipped []skip
}

type skip struct{ Package, Test, Reason string }

// event is one line of "go test -json" (go doc test2json).
type event struct{ Action, Package, Test, Output, ImportPath string }

// id is a test, or a package if test is empty.
type id struct{ pkg, test string }

type reader struct {
	out     io.Writer
	outputs map[id][]string // lines of tests and packages that have not ended
	tally   tally
}

func (r *reader) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if len(line) > 0 && (json.Unmarshal(line, &e) != nil || e.Action == "") {
			_, _ = r.out.Write(line)
		} else if len(line) > 0 {
			r.take(&e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) take(e *event) {
	at := id{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.print(e.Output)
	case "output":
		r.outputs[at] = append(r.outputs[at], e.Output)
	case "pass", "skip", "fail":
		r.end(at, e.Action)
		delete(r.outputs, at)
	}
}

// end prints what go test would print about a test or package that has ended.
func (r *reader) end(at id, action string) {
	lines := r.outputs[at]
	if action == "fail" && at.test == "" { // a test that ended its process has no end event
		for _, other := range slices.SortedFunc(maps.Keys(r.outputs), func(a, b id) int { return strings.Compare(a.test, b.test) }) {
			if other.pkg == at.pkg && other.test != "" {
				r.print(r.outputs[other]...)
			}
		}
	}
	switch {
	case action == "fail":
		r.print(lines...)
	case at.test == "" && len(lines) > 0:
		r.print(lines[len(lines)-1]) // "ok", or "no test files"
	}
	switch {
	case at.test == "":
	case action == "pass":
		r.tally.Passed++
	case action == "skip":
		r.tally.Skipped = append(r.tally.Skipped, skip{at.pkg, at.test, reason(lines)})
	}
}

func (r *reader) print(lines ...string) {
	for _, l := range lines {
		_, _ = io.WriteString(r.out, l)
	}
}

// place matches the place in the source at which a test logged something, as package
// testing prints it. Further lines of the same text follow with more indentation.
var place = regexp.MustCompile(`^\s*[^\s:]+\.go:\d+: `)

// reason returns the text with which a test was skipped, in one line. That is the last
// text that the test logged, without its place in the source.
func reason(lines []string) string {
	var text []string
	for _, l := range slices.Backward(lines) {
		trimmed := strings.TrimSpace(l)
		if strings.HasPrefix(trimmed, "---") || strings.HasPrefix(trimmed, "===") || trimmed == "" {
			continue
		}
		if at := place.FindString(l); at != "" {
			text = append(text, strings.TrimSpace(strings.TrimPrefix(l, at)))
			break
		}
		text = append(text, trimmed)
	}
	slices.Reverse(text)
	return cmp.Or(strings.Join(text, " "), "no reason given")
}

// sum prints how many tests were skipped in all runs, and why.
func sum(w io.Writer, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("nothing was noted in %s", folder)
	}
	var all tally
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var t tally
		if err := json.Unmarshal(b, &t); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		all.Passed += t.Passed
		all.Skipped = append(all.Skipped, t.Skipped...)
	}
	_, err = io.WriteString(w, all.String())
	return err
}

// String returns one line with the numbers and the reasons, the most frequent reason
// first. If tests were skipped, a second line says how to make skips fail.
func (t tally) String() string {
	if len(t.Skipped) == 0 {
		return fmt.Sprintf("%d tests passed, none was skipped\n", t.Passed)
	}
	counts := map[string]int{}
	for _, s := range t.Skipped {
		counts[s.Reason]++
	}
	reasons := make([]string, 0, len(counts))
	for why := range counts {
		reasons = append(reasons, why)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		if n := counts[b] - counts[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%d tests passed, %d SKIPPED:\n", t.Passed, len(t.Skipped))
	bed := false
	for _, why := range reasons {
		fmt.Fprintf(&b, "  %5d  %s\n", counts[why], why)
		bed = bed || strings.Contains(why, required.Env)
	}
	if bed {
		b.WriteString("With " + required.Env + "=1 a test fails where its namespaces cannot be made.\n")
	}
	return b.String()
}
