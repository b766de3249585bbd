package replay

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policies"
)

// endless repeats its text without end, and calls begun when it is first read.
type endless struct {
	text  string
	begun func()
}

func (e endless) Read(b []byte) (int, error) {
	e.begun()
	return copy(b, strings.Repeat(e.text, max(1, len(b)/len(e.text)))), nil
}

// silent never returns from a read. It calls begun at the first one.
type silent struct{ begun func() }

func (s silent) Read([]byte) (int, error) {
	s.begun()
	select {}
}

// An interrupted replay ends, whatever it is reading.
func TestInterruptedReplayEnds(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		in         func(begun func()) io.Reader
	}{
		{"a line without end", "-", func(begun func()) io.Reader { return endless{"y", begun} }},
		{"bad lines without end", "-", func(begun func()) io.Reader { return endless{"y\n", begun} }},
		{"nothing", "-", func(begun func()) io.Reader { return silent{begun} }},
		{"a pipe without a writer", pipe, func(begun func()) io.Reader { begun(); return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := Command{Policies: policies.All(), Files: []string{tt.file}, Policy: "sample", In: tt.in(cancel), Out: io.Discard, Err: io.Discard}
			if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}
