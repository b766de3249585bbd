package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/policy"
)

// A budget is counted by the interface's counter. Beyond it, the prefix is expensive.
func TestBudgets(t *testing.T) {
	cfg := parse(t, `policy "sample" {}
	interface "wwan0" {
		cost = "metered"
		budget = "1kB"
		budget_reset = 20
	}
	interface "wlan0" {}`)
	list := manage(cfg, netmon.NewSnapshot(laptop()), nil)
	b := &budgets{log: slog.New(slog.DiscardHandler), file: filepath.Join(t.TempDir(), "budget.json")}
	b.open(cfg)
	wwan := func() *policy.Prefix {
		prefixes := measured(list, &pathstat.Snapshot{})
		b.apply(prefixes)
		return prefixes[slices.IndexFunc(prefixes, func(p *policy.Prefix) bool { return p.Interface == "wwan0" })]
	}
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.Local)
	b.networks(now, list, nil)
	if p := wwan(); p.Budget != (policy.Budget{}) || p.Cost != policy.Metered {
		t.Errorf("before the first count: %v, %+v", p.Cost, p.Budget)
	}
	for _, tt := range []struct {
		counter uint64
		cost    policy.Cost
		used    uint64
	}{
		{5000, policy.Metered, 0}, {5999, policy.Metered, 999}, {6000, policy.Expensive, 1000},
	} {
		b.count(now, map[int]uint64{3: tt.counter, 2: 1 << 40})
		want := policy.Budget{Limit: 1000, Used: tt.used, Reset: time.Date(2026, 3, 20, 0, 0, 0, 0, time.Local)}
		if p := wwan(); p.Budget != want || p.Cost != tt.cost {
			t.Errorf("counter %d: %v, %+v", tt.counter, p.Cost, p.Budget)
		}
	}
	b.count(now.AddDate(0, 0, 5), map[int]uint64{3: 6001})
	if p := wwan(); p.Cost != policy.Metered || p.Budget.Used != 1 {
		t.Errorf("in the next month: %v, %+v", p.Cost, p.Budget)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.run(ctx); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(b.file); err != nil || !strings.Contains(string(text), `"wwan0"`) || strings.Contains(string(text), `"wlan0"`) {
		t.Errorf("saved at the end: %s, %v", text, err)
	}
}

// Without a budget, nothing is read, counted or kept.
func TestNoBudgets(t *testing.T) {
	cfg := parse(t, `interface "*" {}`)
	b := &budgets{log: slog.New(slog.DiscardHandler), file: filepath.Join(t.TempDir(), "budget.json")}
	b.open(cfg)
	b.networks(time.Now(), manage(cfg, netmon.NewSnapshot(laptop()), nil), map[int]uint64{3: 7})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(b.file); !errors.Is(err, fs.ErrNotExist) || b.meter != nil {
		t.Errorf("a file, or a meter: %v, %v", err, b.meter)
	}
}

// An interface that was made again has its predecessor's name, but not its counter. The
// last pass still has the predecessor's.
func TestBudgetOfReplacedInterface(t *testing.T) {
	cfg := parse(t, `policy "sample" {}
	interface "wwan0" { budget = "1MB" }`)
	b := &budgets{log: slog.New(slog.DiscardHandler), file: filepath.Join(t.TempDir(), "budget.json")}
	b.open(cfg)
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.Local)
	state := laptop()
	list := manage(cfg, netmon.NewSnapshot(state), nil)
	b.networks(now, list, nil)
	last := map[int]uint64{3: 7000}
	b.count(now, last)
	last[3] = 7100
	b.count(now, last)

	again := managed{prefix: list[0].prefix, settings: list[0].settings}
	again.prefix.Index = 9
	list = []managed{again}
	b.networks(now, list, last) // before the next pass
	b.count(now, map[int]uint64{9: 50})
	prefixes := measured(list, &pathstat.Snapshot{})
	b.apply(prefixes)
	if got := prefixes[0].Budget.Used; got != 150 {
		t.Errorf("%d bytes used, want the 100 of the old interface and the 50 of the new one", got)
	}
}
