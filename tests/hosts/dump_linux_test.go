package hosts

import (
	"os"
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

// dumpTask is what a child is told that is to load a host and describe what it has.
const dumpTask = "dump:"

// describe loads a host and describes the namespace.
func describe(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	h, err := hostfile.Parse(text, filepath.Base(path))
	if err != nil {
		return "", err
	}
	w, err := hostbed.Load(h)
	if err != nil {
		return "", err
	}
	defer w.Close()
	h, err = hostfile.Read()
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// passing are figures that go down, and that an address is temporary, which only
// the kernel can set.
var passing = regexp.MustCompile(`( valid_lft| preferred_lft| expires) \d+| temporary`)

// What is described of a host, and left of it without private details, can be
// loaded, and then the same is described again.
func TestDumps(t *testing.T) {
	files, err := filepath.Glob("*.host")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hosts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(f, ".host"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			first := dumped(t, path)
			h, err := hostfile.Parse([]byte(first), "dump")
			if err != nil {
				t.Fatalf("%v\n%s", err, first)
			}
			text := h.Private().String()
			again := filepath.Join(dir, "private")
			if err := os.WriteFile(again, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lines(text), lines(dumped(t, again))); diff != "" {
				t.Errorf("(-loaded +described)\n%s", diff)
			}
		})
	}
}

// lines are those of a description, without its title and what time changes, sorted:
// the kernel lists routes by their prefixes.
func lines(text string) []string {
	_, text, _ = strings.Cut(text, "\n")
	return slices.Sorted(strings.SplitSeq(passing.ReplaceAllString(text, "$1"), "\n"))
}

func dumped(t *testing.T, path string) string {
	t.Helper()
	b, err := hostbed.Child(dumpTask+path, 2*time.Minute)
	if err != nil {
		testbed.SkipOrFail(t, err)
	}
	if _, missing, ok := strings.Cut(string(b), "unavailable: "); ok {
		t.Skipf("needs a kernel with what the host has: %s", missing)
	}
	return string(b)
}
