package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The module under test has a package of each kind.
const files = `
-- go.mod --
module example.net/m

go 1.26
-- good/good_test.go --
package good

import "testing"

func TestGood(t *testing.T) { t.Log("unseen") }
func TestBed(t *testing.T)  { t.Skipf("needs a %s: no (MAMMA_TESTBED_REQUIRED=1 makes this a failure)", "namespace") }
func TestLines(t *testing.T) {
	t.Log("other: text")
	t.Skip("needs three things:\n  a program: exit status 1\n\n  a kernel")
}
func TestSub(t *testing.T) {
	t.Run("a", func(t *testing.T) { t.Skip("needs root") })
	t.Run("b", func(t *testing.T) { t.Skip("needs root") })
	t.Run("c", func(t *testing.T) { t.SkipNow() })
}
-- bad/bad_test.go --
package bad

import "testing"

func TestBad(t *testing.T)  { t.Error("what is wrong") }
func TestGood(t *testing.T) { t.Log("unseen") }
-- broken/broken_test.go --
package broken

var x int = ""
-- ended/ended_test.go --
package ended

import (
	"os"
	"testing"
)

func TestExit(t *testing.T) { t.Log("its last words"); os.Exit(3) }
-- empty/empty.go --
package empty
`

func TestTally(t *testing.T) {
	dir := t.TempDir()
	for part := range strings.SplitSeq(strings.TrimPrefix(files, "\n-- "), "\n-- ") {
		name, text, _ := strings.Cut(part, " --\n")
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	notes := filepath.Join(dir, "notes")
	for _, tt := range []struct {
		pkg    string
		fails  bool
		has    []string
		hasNot string
	}{
		{"./good", false, []string{"ok  \texample.net/m/good\t"}, "unseen"},
		{"./empty", false, []string{"example.net/m/empty\t[no test files]"}, "ok"},
		{"./bad", true, []string{"--- FAIL: TestBad", "what is wrong", "FAIL\texample.net/m/bad"}, "unseen"},
		{"./ended", true, []string{"its last words", "FAIL\texample.net/m/ended"}, "ok  \t"},
		{"./broken", true, []string{`cannot use ""`, "example.net/m/broken [build failed]"}, "ok  \t"},
	} {
		var out bytes.Buffer
		err := test(&out, filepath.Join(notes, strings.TrimPrefix(tt.pkg, "./")), []string{"go", "test", tt.pkg})
		if _, failed := errors.AsType[*exec.ExitError](err); failed != tt.fails || !failed && err != nil {
			t.Errorf("%s: %v", tt.pkg, err)
		}
		for _, want := range tt.has {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", tt.pkg, want, &out)
			}
		}
		if strings.Contains(out.String(), tt.hasNot) {
			t.Errorf("%s: %q is in\n%s", tt.pkg, tt.hasNot, &out)
		}
	}
	t.Chdir("..") // a test elsewhere
	if err := test(new(bytes.Buffer), filepath.Join(notes, "elsewhere"), []string{"go", "test", "-C", dir, "-run", "Good", "./good"}); err != nil {
		t.Error(err)
	}
	// A run that failed has left no note.
	var out bytes.Buffer
	if err := sum(&out, notes); err != nil {
		t.Fatal(err)
	}
	want := `3 tests passed, 5 SKIPPED:
      2  needs root
      1  needs a namespace: no (MAMMA_TESTBED_REQUIRED=1 makes this a failure)
      1  needs three things: a program: exit status 1 a kernel
      1  no reason given
With MAMMA_TESTBED_REQUIRED=1 a test fails where its namespaces cannot be made.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("summary (-want +got)\n%s", diff)
	}
	if err := sum(&out, filepath.Join(dir, "none")); err == nil {
		t.Error("nothing was noted, and there was no error")
	}
	b, _ := json.Marshal(tally{Passed: 3})
	alone := t.TempDir()
	if err := os.WriteFile(filepath.Join(alone, "a"), b, 0o666); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := sum(&out, alone); err != nil || out.String() != "3 tests passed, none was skipped\n" {
		t.Errorf("%v, %q", err, &out)
	}
}

// Programs that are not tests say what they leave out. Their output is passed on.
func TestProgram(t *testing.T) {
	notes := t.TempDir()
	const script = `echo begun; echo "SKIPPED: E1: too busy"; echo "NOT SKIPPED: x"; echo "SKIPPED: E1: too busy"; printf end`
	var out bytes.Buffer
	if err := perform(&out, filepath.Join(notes, "a"), []string{"sh", "-c", script}); err != nil {
		t.Fatal(err)
	}
	if want := "begun\nSKIPPED: E1: too busy\nNOT SKIPPED: x\nSKIPPED: E1: too busy\nend"; out.String() != want {
		t.Errorf("%q is shown, want %q", &out, want)
	}
	err := perform(&out, filepath.Join(notes, "failed"), []string{"sh", "-c", "echo SKIPPED: all; exit 3"})
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("%v", err)
	}
	out.Reset()
	if err := sum(&out, notes); err != nil || out.String() != "0 tests passed, 2 SKIPPED:\n      2  E1: too busy\n" {
		t.Errorf("%v, %q", err, &out)
	}
}
