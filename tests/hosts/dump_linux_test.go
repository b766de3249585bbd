package hosts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/hostbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// dumpTask begins the task of a child that loads a host and describes its state.
const dumpTask = "dump:"

// description is the description of a host, with what ip(8) prints about it.
type description struct {
	Unavailable string
	Text        string
	State       []string
}

// describe loads a host and describes the namespace.
func describe(path string) (d description, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	h, err := hostfile.Parse(text, filepath.Base(path))
	if err != nil {
		return d, err
	}
	w, err := hostbed.Load(h)
	if errors.Is(err, testbed.ErrUnavailable) {
		return description{Unavailable: err.Error()}, nil
	}
	if err != nil {
		return d, err
	}
	defer w.Close()
	if h, err = hostfile.Read(); err != nil {
		return d, err
	}
	return description{Text: h.String(), State: whole()}, nil
}

// whole returns everything that ip(8) prints about addresses, rules, routes and next
// hops. Other code reads these for a description. Figures that change with time, and
// the numbers of links, are left out.
func whole() []string {
	var list []string
	for _, args := range []string{"-o addr", "rule", "-6 rule", "-o -d route show table all", "-6 -o -d route show table all", "-o nexthop"} {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			out = fmt.Append(out, err)
		}
		for l := range strings.Lines(string(out)) {
			l = numbers.ReplaceAllString(strings.ReplaceAll(l, "\\", " "), "")
			l = passing.ReplaceAllString(l, "$1")
			list = append(list, args+": "+strings.Join(strings.Fields(l), " "))
		}
	}
	slices.Sort(list)
	return list
}

// numbers matches the numbers of links, and the lifetimes of addresses and routes.
var numbers = regexp.MustCompile(`^\d+: | \d+sec`)

// passing matches lifetimes, which go down, and the flag of temporary addresses, which
// only the kernel can set.
var passing = regexp.MustCompile(`( valid_lft| preferred_lft| expires) \d+| temporary`)

// A description of a host can be loaded. After that, ip(8) prints the same as before,
// and the description is the same. That also holds without private details, whose names
// and addresses are replaced. Some hosts are enough here, because TestPrivateLibrary
// takes all.
func TestDumps(t *testing.T) {
	files, err := filepath.Glob("*.host")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hosts: %v", err)
	}
	for i, f := range files {
		t.Run(strings.TrimSuffix(f, ".host"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			first := dumped(t, path)
			replay := func(text string) description {
				t.Helper()
				again := filepath.Join(dir, "again")
				if err := os.WriteFile(again, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				d := dumped(t, again)
				if diff := cmp.Diff(lines(text), lines(d.Text)); diff != "" {
					t.Errorf("(-loaded +described)\n%s", diff)
				}
				return d
			}
			again := replay(first.Text)
			if diff := cmp.Diff(first.State, again.State); diff != "" {
				t.Errorf("what is described is not all (-host +replayed)\n%s\n%s", diff, first.Text)
			}
			if every := 5; i%every != 0 {
				return
			}
			h, err := hostfile.Parse([]byte(first.Text), "dump")
			if err != nil {
				t.Fatalf("%v\n%s", err, first.Text)
			}
			replay(h.Private().String())
		})
	}
}

// lines returns the lines of a description, sorted, because the kernel lists routes by
// their prefixes. The title and figures that change with time are left out.
func lines(text string) []string {
	_, text, _ = strings.Cut(text, "\n")
	return slices.Sorted(strings.SplitSeq(passing.ReplaceAllString(text, "$1"), "\n"))
}

func dumped(t *testing.T, path string) description {
	t.Helper()
	b, err := hostbed.Child(dumpTask+path, 2*time.Minute)
	if err != nil {
		testbed.SkipOrFail(t, err)
	}
	var d description
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if d.Unavailable != "" {
		t.Skipf("needs a kernel with what the host has: %s", d.Unavailable)
	}
	return d
}
