package daemon

import (
	"context"
	"time"
)

// beat calls OnAlive as long as the daemon is alive: it must be able to get the locks
// that requests, measurements and reloads wait for. A stuck policy does not count,
// because package mam handles it.
func (d *Daemon) beat(ctx context.Context) error {
	if d.opts.OnAlive == nil || d.opts.Heartbeat <= 0 {
		return nil
	}
	tick := time.NewTicker(d.opts.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = d.state()
			_ = d.manager.Decisions().Count()
			d.opts.OnAlive()
		case <-ctx.Done():
			return nil
		}
	}
}
