package daemon

import (
	"context"
	"time"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// follow has everything follow the host's networks.
func (d *Daemon) follow(ctx context.Context) error {
	changes, cancel := d.nets.Subscribe()
	defer cancel()
	// A network manager tells its name servers some time after the addresses,
	// and the files give no event that an unprivileged process could rely on.
	tick := time.NewTicker(linkDNSInterval)
	defer tick.Stop()
	changed := true // there was nobody to tell until now
	for {
		nets := d.nets.Snapshot()
		if d.links.look(nets) || changed {
			d.mu.Lock()
			d.renewLocked()
			d.mu.Unlock()
		}
		select {
		case <-tick.C:
			changed = false
		case <-changes:
			changed = true
		case <-ctx.Done():
			return nil
		}
	}
}

// renewLocked makes everything follow from the configuration and the host's
// networks as both are now, and publishes it. It is the one way by which a change
// of either takes effect. Nothing in it waits for files or the kernel.
//
// The networks are taken under the lock: whatever was concluded from them before
// may be outdated by a change that somebody else has taken over meanwhile, and
// would undo it. The order is that of needs:
//
//   - Name servers of links come before resolvers, which are made for them.
//   - Resolvers come before health, which probes through them.
//   - Measuring and health come before the View, which shows what they know:
//     that a network is gone, or new, must not wait for the next pass.
//   - The View comes last of what answers requests, and whole. MPTCP paths
//     follow it, since the path manager asks the policy about it.
//   - Health hears of the View, to tell reports on a network from those on the one
//     before.
//   - Routes come after it. They take the longest, and no request should get a
//     network that is gone while they are changed.
func (d *Daemon) renewLocked() *mam.View {
	now, nets := time.Now(), d.nets.Snapshot()
	list := manage(d.cfg, nets)
	d.links.use(d.cfg, list)
	d.snapshot, d.list, d.local = nets, list, local(nets)
	d.routes = newRoutes(d.nets.Kernel(), d.cfg, nets, list)
	d.lookups = d.resolvers.of(list)
	d.sampler.Set(measurable(list, nets, len(d.logs) > 0))
	d.health.networks(now, d.cfg.Probe, list, nets, d.lookups)
	d.budgets.networks(now, list, d.sampler.Snapshot().Bytes)
	view := d.publishLocked()
	d.health.offered(time.Now())
	select {
	case d.rerouted <- struct{}{}:
	default:
	}
	return view
}

// measured publishes and logs what a pass of the sampler has found.
func (d *Daemon) measured(s *pathstat.Snapshot) {
	for _, l := range d.logs {
		l.Record(s)
	}
	d.paths.look()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.health.flows(now, s.Time, s.Flows)
	d.budgets.count(now, s.Bytes)
	d.publishLocked()
}

// reported is called with each report of a client, and must return at once.
func (d *Daemon) reported(rec mam.Record) {
	d.metrics.Reported(&rec)
	d.paths.reported(rec)
	d.health.reported(rec)
}

func (d *Daemon) publish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.publishLocked()
}

func (d *Daemon) publishLocked() *mam.View {
	stats, judged := d.sampler.Snapshot(), d.health.judgement()
	prefixes := measured(d.list, stats)
	for _, p := range prefixes {
		p.Health = judged.health[p.ID]
	}
	d.budgets.apply(prefixes)
	v := &mam.View{
		Time: time.Now(), Runner: d.runner, Prefixes: prefixes, Destinations: stats,
		Routes: d.routes, Devices: map[policy.PrefixID]string{}, Extents: map[policy.PrefixID]mam.Extent{},
		Resolver: lookup{d.resolvers.unbound}, Resolvers: d.lookups, Avoid: judged.avoid, Local: d.local, AvoidMetered: d.cfg.AvoidMetered,
		Fresh: d.loaded.fresh, NoMultipath: d.paths.refused.Load(),
	}
	for i := range d.list {
		if m := &d.list[i]; m.device != "" {
			v.Devices[m.prefix.ID] = m.device
		}
		if m := &d.list[i]; m.extent != mam.Everywhere {
			v.Extents[m.prefix.ID] = m.extent
		}
	}
	v.NameServers = nameServers(d.list)
	d.manager.Publish(v)
	d.paths.published(v)
	return v
}
