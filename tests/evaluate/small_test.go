package main

import (
	"io"
	"testing"

	"github.com/socket-intents/mamma/tests/evaluate/conditions"
)

func TestChosen(t *testing.T) {
	all := conditions.Small()
	g, err := chosen(all, []string{"no size", "cold, 100 kB"})
	if err != nil || len(g.Cases) != 2 || g.Cases[0].Name != "no size" || g.Cases[1].Name != "cold, 100 kB" {
		t.Errorf("two: %d cases, %v", len(g.Cases), err)
	}
	if g, err := chosen(all, nil); err != nil || len(g.Cases) != len(all.Cases) {
		t.Errorf("none named: %d cases, %v", len(g.Cases), err)
	}
	if _, err := chosen(all, []string{"no such one"}); err == nil {
		t.Error("an unknown name is taken")
	}
	if _, err := parse([]string{"--input", "no size"}, io.Discard); err == nil {
		t.Error("--input without --small is taken")
	}
}

// A verdict is whether a condition goes well, live and simulated.
func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		live, simulated float64
		want            string
	}{
		{1.04, 0.98, "the same verdict"},
		{1.30, 1.20, "the same verdict"},
		{1.30, 1.00, "another verdict"},
		{1.00, 1.20, "another verdict"},
	} {
		if got := (smallPlayed{ratio: tt.live}).verdict(tt.simulated); got != tt.want {
			t.Errorf("live %v, simulated %v: %q, want %q", tt.live, tt.simulated, got, tt.want)
		}
	}
}
