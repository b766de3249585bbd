package daemon

import (
	"context"
	"time"
)

// beat, if OnAlive wants it, tells that the daemon is alive as long as it is: as long as what requests,
// measurements and reloads wait for can be had. A policy that is stuck is dealt
// with in package mam and does not count.
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
