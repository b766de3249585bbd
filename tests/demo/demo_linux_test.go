package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/placement"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

func TestMain(m *testing.M) {
	if status, handled := placement.Dispatch(placement.Program{}, os.Args[1:]); handled { // placement.Probe starts this program
		os.Exit(status)
	}
	if actor, err := stage.Act(jobs()); actor {
		exit(err)
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(m.Run())
}

func TestSimple(t *testing.T) {
	dir := t.TempDir()
	program, err := stage.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := simple(t.Context(), program, dir, &out); err != nil {
		testbed.SkipOrFail(t, err)
	}
	for _, want := range []string{
		fmt.Sprintf("  %-24s  %-26s  %s\n", "(without mamma)", "192.168.0.23 (wifi)", "default route"),
		fmt.Sprintf("  %-24s  %-26s  %s\n", "none", "192.168.0.23 (wifi)", "no category given: default"),
		fmt.Sprintf("  %-24s  %-26s  %s\n", "category=query", "192.168.0.23 (wifi)", "prefix for category query"),
		fmt.Sprintf("  %-24s  %-26s  %s\n", "category=bulktransfer", "10.64.3.9 (lte)", "prefix for category bulktransfer"),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in:\n%s", want, &out)
		}
	}
}

func TestUnknownFlag(t *testing.T) {
	if err := run(t.Context(), []string{"--slow"}, nil, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), "--slow") {
		t.Errorf("error %v", err)
	}
}

func TestChart(t *testing.T) {
	got := chart([]row{{"wifi only", 4, ""}, {"lte only", 1.4, ""}, {"adaptive", 0.05, "as it likes"}})
	want := []string{
		"wifi only   4.0 s  ████████████████████████████████████████",
		"lte only    1.4 s  ██████████████",
		"adaptive    0.1 s  ▌   as it likes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSplit(t *testing.T) {
	got := split([]live.Object{{Size: 1000}, {Size: 90_000, Net: 1}, {Size: 3000}, {Size: 2000}, {Size: 5, Net: -1}})
	if want := "objects: 3 over wifi (median 2.0 kB), 1 over lte (median 90.0 kB)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
