package daemon

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/socket-intents/mamma/internal/network/budget"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/process/ownfile"
	"github.com/socket-intents/mamma/policy"
)

// budgetInterval is between two writings of the counts: what a crash may lose.
const budgetInterval = time.Minute

// StateDir is where what must survive a restart is kept: what the configuration
// says, else the directory that systemd made for the service, /var/lib/mamma for
// root, else one in the user's own state directory.
func StateDir(configured string) string {
	if configured != "" {
		return configured
	}
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return filepath.SplitList(dir)[0]
	}
	if os.Geteuid() == 0 {
		return "/var/lib/mamma"
	}
	home, _ := os.UserHomeDir() // "": relative to where it was started
	return filepath.Join(cmp.Or(os.Getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state")), "mamma")
}

// budgetsLocked counts what the interfaces with a budget have carried, and makes
// prefixes that are beyond theirs expensive.
func (d *Daemon) budgetsLocked(now time.Time, s *pathstat.Snapshot) {
	for i := range d.list {
		m := &d.list[i]
		limit := uint64(m.settings.Budget)
		counter, ok := s.Bytes[m.prefix.Interface]
		if limit == 0 || !ok {
			continue
		}
		if d.meter == nil {
			d.meter = d.loadBudgets()
		}
		used := d.meter.Add(now, m.prefix.Interface, m.prefix.Index, counter, m.settings.BudgetReset)
		m.prefix.Budget = policy.Budget{Limit: limit, Used: used, Reset: budget.Next(now, m.settings.BudgetReset)}
		m.prefix.Cost = m.settings.Cost
		if used >= limit {
			m.prefix.Cost = policy.Expensive
		}
	}
}

// loadBudgets is called once, when the first budget is needed. A file that
// cannot be read is replaced in time: counting anew is better than not at all.
func (d *Daemon) loadBudgets() *budget.Meter {
	m, err := budget.Load(d.budgetPath(), ownfile.BootID())
	if err != nil {
		d.log.Warn("budgets begin anew", "err", err)
	}
	return m
}

func (d *Daemon) budgetPath() string {
	return filepath.Join(StateDir(d.cfg.StateDirectory), "budget.json")
}

// saveBudgets writes the counts now and then, and at the end.
func (d *Daemon) saveBudgets(ctx context.Context) error {
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
		d.mu.Lock()
		var err error
		if d.meter != nil {
			// A small file once a minute: publishing may wait for it.
			err = d.meter.Save(d.budgetPath())
		}
		d.mu.Unlock()
		if err != nil && !failing {
			d.log.Warn("budgets not saved", "err", err)
		}
		failing = err != nil
		if done {
			return nil
		}
	}
}
