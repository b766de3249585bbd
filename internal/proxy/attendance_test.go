package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// If a manager is late now and then, the log does not say with each request that it goes or
// comes.
func TestAttendance(t *testing.T) {
	const late, gone, here = "late", "gone", "here"
	for _, tt := range []struct {
		name string
		what []string // each 100 ms
		want []string
	}{
		{"answers", []string{here, here}, nil},
		{"late now and then", []string{late, here, late, late, here, late, here}, nil},
		{"late, then not asked for long, then late once", append([]string{late, here}, append(strings.Split(strings.Repeat(" ", 30), ""), late)...), nil},
		{"gone", []string{here, gone, gone, late}, []string{"WARN"}},
		{"gone and back", []string{gone, here, here, gone}, []string{"WARN", "INFO", "WARN"}},
		{"hangs", []string{late, late, late, late, late, late, late, late, late, late, late, late, here}, []string{"WARN", "INFO"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			a := &attendance{log: slog.New(slog.NewTextHandler(&out, nil))}
			a.begin(true)
			now := time.Unix(1e9, 0)
			for _, w := range tt.what {
				switch w {
				case here:
					a.note(nil, now)
				case late:
					a.note(os.ErrDeadlineExceeded, now)
				case gone:
					a.note(&os.PathError{Err: syscall.ECONNREFUSED}, now)
				}
				now = now.Add(100 * time.Millisecond)
			}
			var got []string
			for _, m := range regexp.MustCompile(`level=(\w+)`).FindAllStringSubmatch(out.String(), -1) {
				got = append(got, m[1])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	// If the manager was absent at the start, the log has said so. Then only its coming is
	// logged.
	a := &attendance{log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	a.begin(false)
	a.note(syscall.ECONNREFUSED, time.Unix(1e9, 0))
	if a.here {
		t.Error("said to be here")
	}
}
