package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/budget"
	"github.com/socket-intents/mamma/internal/process/ownfile"
	"github.com/socket-intents/mamma/policy"
)

// budgetInterval is the time between two writes of the counts. A crash loses at most
// this much.
const budgetInterval = time.Minute

// budgets counts the traffic of interfaces with a budget. It is safe for concurrent
// use.
type budgets struct {
	log  *slog.Logger
	file string // where the counts are kept

	mu      sync.Mutex
	meter   *budget.Meter // nil until a budget is needed
	limited []limited
	spent   map[policy.PrefixID]policy.Budget // as of the latest count
}

// limited is a managed prefix with a budget.
type limited struct {
	id    policy.PrefixID
	index int // of the interface
	limit uint64
	reset int // day of the month
}

// open reads the counts if cfg is the first configuration with a budget. Calls must not
// overlap. A file that cannot be read is replaced at the next write, because counting
// from zero is better than not counting.
func (b *budgets) open(cfg *config.Config) {
	b.mu.Lock()
	opened := b.meter != nil
	b.mu.Unlock()
	if opened || !slices.ContainsFunc(cfg.Blocks, func(c config.Block) bool { return c.Budget != nil && *c.Budget > 0 }) {
		return
	}
	meter, err := budget.Load(b.file, ownfile.BootID())
	if err != nil {
		b.log.Warn("budgets begin anew", "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meter = meter
}

// networks takes over the list of managed prefixes.
func (b *budgets) networks(now time.Time, list []managed, carried map[int]uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limited, b.spent = nil, map[policy.PrefixID]policy.Budget{}
	for i := range list {
		s, p := &list[i].settings, &list[i].prefix
		if s.Budget > 0 {
			b.limited = append(b.limited, limited{p.ID, p.Index, uint64(s.Budget), s.BudgetReset})
		}
	}
	b.countLocked(now, carried)
}

// count takes the bytes that each interface has carried, in the form of
// pathstat.Snapshot.
func (b *budgets) count(now time.Time, carried map[int]uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.countLocked(now, carried)
}

func (b *budgets) countLocked(now time.Time, carried map[int]uint64) {
	if b.meter == nil {
		return
	}
	for _, l := range b.limited {
		counter, ok := carried[l.index]
		if !ok {
			continue
		}
		used := b.meter.Add(now, l.id.Interface, l.index, counter, l.reset)
		b.spent[l.id] = policy.Budget{Limit: l.limit, Used: used, Reset: budget.Next(now, l.reset)}
	}
}

// apply writes into the prefixes what is left of their budgets. A prefix beyond its
// budget becomes expensive.
func (b *budgets) apply(prefixes []*policy.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range prefixes {
		p.Budget = b.spent[p.ID]
		if p.Budget.Limit > 0 && p.Budget.Used >= p.Budget.Limit {
			p.Cost = policy.Expensive
		}
	}
}

// run writes the counts at intervals, and at the end.
func (b *budgets) run(ctx context.Context) error {
	tick := time.NewTicker(budgetInterval)
	defer tick.Stop()
	failing := false
	for {
		done := false
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		b.mu.Lock()
		meter := b.meter
		b.mu.Unlock()
		var err error
		if meter != nil {
			err = meter.Save(b.file) // without the lock, because the disk may be slow
		}
		if err != nil && !failing {
			b.log.Warn("budgets not saved", "err", err)
		}
		failing = err != nil
		if done {
			return nil
		}
	}
}
