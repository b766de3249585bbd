package replay

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/policies"
)

// The output fits the terminal, whatever it lists.
func TestWidth(t *testing.T) {
	file := write(t, "decisions.jsonl", record(t, "threshold", 1, few()...))
	for width := 30; width < 160; width++ {
		for _, differences := range []int{-1, 20} {
			var out bytes.Buffer
			c := Command{Policies: policies.All(), Files: []string{file}, Policy: "sample", Differences: differences, Out: &out, Err: io.Discard, Width: width}
			if err := c.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(out.String()) {
				if n := table.Cells(strings.TrimSuffix(l, "\n")); n > width {
					t.Fatalf("%d cells, of %d: %q", n, width, l)
				}
			}
			if differences < 0 || width != 40 && width != 80 && width != 132 {
				continue
			}
			golden := filepath.Join("testdata", fmt.Sprintf("width-%d.txt", width))
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
	}
}

// The progress can be read while files are read, and until the summary is printed.
func TestProgress(t *testing.T) {
	text := record(t, "threshold", 1, few()...)
	file := write(t, "decisions.jsonl", text)
	for _, tt := range []struct {
		files []string
		size  int64
	}{{[]string{file, file}, 2 * int64(len(text))}, {[]string{file, "-"}, -1}, {[]string{"none"}, -1}} {
		var ask func() Progress
		ends := 0
		var out bytes.Buffer
		c := Command{Policies: policies.All(), Files: tt.files, Policy: "sample", In: bytes.NewReader(text), Out: &out, Err: io.Discard}
		c.Begin = func(far func() Progress) func() {
			if p := far(); p != (Progress{Size: tt.size}) {
				t.Errorf("at the beginning %+v", p)
			}
			ask = far
			return func() {
				if ends++; out.Len() > 0 {
					t.Errorf("printed before the end:\n%s", &out)
				}
			}
		}
		err := c.Run(t.Context())
		if p := ask(); err == nil && p != (Progress{6, 2 * int64(len(text)), tt.size}) || ends != 1 {
			t.Errorf("%q: at the end %+v, ended %d times, %v", tt.files, p, ends, err)
		}
	}
}
