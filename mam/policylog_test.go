package mam

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Lines that find the queue full are counted. The log says once how many there were.
func TestPolicyLogCountsWhatIsLost(t *testing.T) {
	var logged strings.Builder
	l := newPolicyLog(slog.New(slog.NewTextHandler(&logged, nil)))
	path := filepath.Join(t.TempDir(), "policy.log")
	for range policyLogQueue + 3 {
		l.write(path, "line", time.Unix(0, 0))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.run(ctx)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "line\n"); n != policyLogQueue {
		t.Errorf("%d lines are written, want %d", n, policyLogQueue)
	}
	if strings.Count(logged.String(), "lost") != 1 || !strings.Contains(logged.String(), "dropped=3") {
		t.Errorf("the log says %q", logged.String())
	}
	logged.Reset()
	l.write(path, "line", time.Unix(0, 0))
	l.run(ctx)
	if logged.Len() > 0 {
		t.Errorf("nothing was lost since, and the log says %q", logged.String())
	}
}
