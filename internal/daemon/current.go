package daemon

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/census"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// current knows what is so at the moment, and publishes Views of it: the
// configuration, the host's networks, what the other parts know of these. It is safe
// for concurrent use.
type current struct {
	nets       hostNetworks
	sampler    *pathstat.Sampler
	census     *census.Census
	links      *linkDNS
	facts      hostFacts
	health     *healthWatch
	budgets    *budgets
	paths      *paths
	measureAll bool            // all networks of the host, not the managed ones only
	publishTo  func(*mam.View) // called with every View, one call at a time
	rerouted   chan struct{}   // one slot: the kernel's routes may have to change

	mu        sync.Mutex
	cfg       *config.Config
	policy    chosenPolicy
	resolvers *resolvers
	lookups   map[policy.PrefixID]mam.Resolver
	domains   *domains
	list      []managed
	snapshot  *netmon.Snapshot
	routes    routes
	local     func(netip.Addr) bool
	heard     *hostfacts.Facts // what list follows
	epoch     uint64           // of the configuration and the host's networks
}

// chosenPolicy is the policy of a configuration. The zero value is none.
type chosenPolicy struct {
	runner *mam.Runner
	name   string                        // to show
	title  string                        // as announced at start and end; "" if there is none
	file   string                        // of its plugin; "" if compiled in
	fresh  func() (policy.Policy, error) // makes another one like it
	since  time.Time                     // when it was made
}

// adopt makes cfg, with its policy, what is in use, and returns the policy that was.
func (c *current) adopt(cfg *config.Config, p chosenPolicy) (view *mam.View, last chosenPolicy) {
	c.nets.KeepRoutes(cfg.Routing == config.RoutingManage)
	c.mu.Lock()
	defer c.mu.Unlock()
	last, c.cfg, c.policy = c.policy, cfg, p
	return c.renewLocked(), last
}

// chosen is the policy in use.
func (c *current) chosen() chosenPolicy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.policy
}

// run has everything follow the host's networks until ctx ends.
func (c *current) run(ctx context.Context) error {
	changes, cancel := c.nets.Subscribe()
	defer cancel()
	// A network manager tells its name servers some time after the addresses,
	// and the files give no event that an unprivileged process could rely on.
	tick := time.NewTicker(linkDNSInterval)
	defer tick.Stop()
	changed := true // there was nobody to tell until now
	for {
		nets := c.nets.Snapshot()
		changed = c.links.look(nets, c.facts.now()) || changed
		c.follow(changed)
		select {
		case <-tick.C:
			changed = false
		case <-c.facts.changed():
			changed = false
		case <-changes:
			changed = true
			c.facts.linksChanged()
		case <-ctx.Done():
			return nil
		}
	}
}

// follow has everything follow, if the host's networks or their name servers have changed
// or something is said of them that matters to decisions. Else what is shown is renewed.
func (c *current) follow(changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch facts := c.facts.now(); {
	case changed || !facts.Alike(c.heard):
		c.renewLocked()
	case facts != c.heard:
		c.heard = facts
		c.publishLocked()
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
//   - The View comes last of what answers requests, and whole.
//   - Health hears of it, to tell the reports on a network from those on the one
//     before.
//   - Routes come after it. They take the longest, and no request should get a
//     network that is gone while they are changed.
func (c *current) renewLocked() *mam.View {
	now, nets := time.Now(), c.nets.Snapshot()
	c.heard = c.facts.now()
	list := manage(c.cfg, nets, c.heard)
	c.links.use(c.cfg, list)
	c.epoch++
	c.snapshot, c.list, c.local = nets, list, local(nets)
	c.routes = newRoutes(c.nets.Kernel(), c.cfg, nets, list)
	c.lookups, c.domains = c.resolvers.of(c.cfg, nets, list, c.heard)
	c.sampler.Set(measurable(list, nets, c.measureAll))
	c.health.networks(now, c.cfg.Probe, list, nets, c.lookups)
	c.budgets.networks(now, list, c.sampler.Snapshot().Bytes)
	view := c.publishLocked()
	c.health.offered(time.Now())
	select {
	case c.rerouted <- struct{}{}:
	default:
	}
	return view
}

// measured takes over and publishes what a pass of the sampler has found.
func (c *current) measured(s *pathstat.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.health.flows(now, s.Time, s.Flows)
	c.budgets.count(now, s.Bytes)
	c.publishLocked()
}

// publish publishes what the parts know now.
func (c *current) publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishLocked()
}

func (c *current) publishLocked() *mam.View {
	stats, judged := c.sampler.Snapshot(), c.health.judgement()
	prefixes := measured(c.list, stats)
	for _, p := range prefixes {
		p.Health = judged.health[p.ID]
	}
	c.budgets.apply(prefixes)
	own, other := c.domains.route(c.list, c.lookups, lookup{c.resolvers.unbound})
	v := &mam.View{
		Time: time.Now(), Epoch: c.epoch, Runner: c.policy.runner, Fresh: c.policy.fresh, PolicyFile: c.policy.file, PolicySettings: c.cfg.Policy.Settings, Prefixes: prefixes, Destinations: stats, Connections: c.census,
		Routes: c.routes, Devices: map[policy.PrefixID]string{}, AltNames: map[string][]string{}, Extents: map[policy.PrefixID]mam.Extent{},
		Resolver: other, Resolvers: own, NameServers: nameServers(c.list),
		Avoid: judged.avoid, Local: c.local, Zone: zones(c.snapshot), Configured: addressed(c.snapshot), Told: told(c.list, c.heard), AvoidMetered: c.cfg.AvoidMetered, NoMultipath: c.paths.refused.Load(),
	}
	for i := range c.list {
		if m := &c.list[i]; m.device != "" {
			v.Devices[m.prefix.ID] = m.device
		}
		if m := &c.list[i]; len(m.altNames) > 0 {
			v.AltNames[m.prefix.Interface] = m.altNames
		}
		if m := &c.list[i]; m.extent != mam.Everywhere {
			v.Extents[m.prefix.ID] = m.extent
		}
	}
	c.publishTo(v)
	return v
}

// unmanaged are the host's prefixes that are not managed, for people. They have been
// measured where the original's logs are written.
func (c *current) unmanaged() []*policy.Prefix {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[policy.PrefixID]bool, len(c.list))
	for i := range c.list {
		known[c.list[i].prefix.ID] = true
	}
	var others []managed
	for _, p := range c.snapshot.Prefixes() {
		id := policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}
		if !known[id] {
			others = append(others, managed{prefix: policy.Prefix{
				ID: id, Interface: p.Interface, Index: p.Index, CIDR: p.Prefix, Addrs: p.Addrs,
			}})
		}
	}
	return measured(others, c.sampler.Snapshot())
}

// prefixes are those that cfg has managed, as they are at the moment: what a policy is
// made for.
func (c *current) prefixes(cfg *config.Config) []*policy.Prefix {
	return measured(manage(cfg, c.nets.Snapshot(), c.facts.now()), c.sampler.Snapshot())
}

// networks are what routes depend on, and whether they are to be managed.
func (c *current) networks() (managed bool, list []managed, nets *netmon.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Routing == config.RoutingManage, c.list, c.snapshot
}

// state is what the control socket shows of the configuration in use.
func (c *current) state() control.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return control.State{
		PolicySince: c.policy.since, PolicyFile: c.policy.file, Settings: c.cfg.Policy.Settings,
		ConfigFile: c.cfg.File, Loaded: c.policy.since,
	}
}
