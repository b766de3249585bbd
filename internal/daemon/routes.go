package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/policy"
)

// routeRetry is how long to wait after changes to the routes failed. Mostly the
// kernel refuses because the networks have changed again, which is an event.
const routeRetry = 5 * time.Second

// router keeps the kernel's routes as the configuration wants them.
type router struct {
	log     *slog.Logger
	kernel  *routing.Kernel
	tables  routing.Tables
	changed chan struct{} // one slot: the networks or the configuration
	failing bool
}

// checkRouting refuses a configuration that cannot be carried out.
func checkRouting(cfg *config.Config) error {
	if cfg.Routing == config.RoutingManage && !routing.Capable() {
		return fmt.Errorf(`routing = "manage": %w`, routing.ErrCapability)
	}
	return nil
}

// openRouter makes the router; nil where this process may not change routes.
func openRouter(log *slog.Logger, changed chan struct{}) (*router, error) {
	if !routing.Capable() {
		return nil, nil
	}
	k, err := routing.Open(0, log)
	if err != nil {
		return nil, err
	}
	return &router{log: log, kernel: k, changed: changed}, nil
}

// plan is what should be there now: nothing unless routes are to be managed, by
// which what a crash left behind is removed as well.
func (d *Daemon) plan(t *routing.Tables) routing.Plan {
	d.mu.Lock()
	manage, list, snapshot := d.cfg.Routing == config.RoutingManage, d.list, d.snapshot
	d.mu.Unlock()
	if !manage {
		return routing.Plan{}
	}
	return planOf(t, list, snapshot)
}

func planOf(t *routing.Tables, list []managed, snapshot *netmon.Snapshot) routing.Plan {
	ids := make([]policy.PrefixID, len(list))
	for i := range list {
		ids[i] = list[i].prefix.ID
	}
	return t.Plan(ids, snapshot)
}

// apply carries out a plan and tells whether all of it succeeded. Of failures
// in a row the first is logged.
func (r *router) apply(plan routing.Plan) bool {
	err := r.kernel.Apply(plan)
	if err != nil && !r.failing {
		r.log.Warn("routes not as they should be; trying again", "err", err)
	}
	r.failing = err != nil
	return err == nil
}

// run applies plan after each change until ctx ends, and then removes
// everything.
func (r *router) run(ctx context.Context, plan func(*routing.Tables) routing.Plan) error {
	defer r.kernel.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.failing = false
			r.apply(routing.Plan{})
			return nil
		case <-r.changed:
		case <-timer.C:
		}
		wait := longWait
		if !r.apply(plan(&r.tables)) {
			wait = routeRetry
		}
		timer.Reset(wait)
	}
}
