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
	"github.com/socket-intents/mamma/internal/network/reset"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// current holds the present state: the configuration, the host's networks, and what the
// other parts know about them. It publishes Views of this state. It is safe for
// concurrent use.
type current struct {
	nets       hostNetworks
	sampler    *pathstat.Sampler
	flows      *pathstat.Reports
	census     *census.Census
	attached   *attachments
	links      *linkDNS
	facts      hostFacts
	health     *healthWatch
	budgets    *budgets
	paths      *paths
	resets     *reset.Resetter
	measureAll bool            // measure all networks of the host, and not only the managed ones
	publishTo  func(*mam.View) // called with every View, one call at a time
	rerouted   chan struct{}   // one slot; filled when the kernel's routes may have to change
	routed     *routeState     // what became of that

	mu        sync.Mutex
	cfg       *config.Config
	policy    chosenPolicy
	resolvers *resolvers
	lookups   map[policy.PrefixID]mam.Resolver
	domains   *domains
	list      []managed
	measuring []pathstat.Prefix // what the sampler is to measure
	snapshot  *netmon.Snapshot
	routes    routes
	local     func(netip.Addr) bool
	heard     *hostfacts.Facts // the facts that list is based on
	epoch     uint64           // number of the configuration and the host's networks; rises with each change
}

// chosenPolicy is the policy of a configuration. The zero value means that there is
// none.
type chosenPolicy struct {
	runner *mam.Runner
	name   string                        // to show
	title  string                        // name for the announcements at start and end; "": none
	file   string                        // of its plugin; "" if compiled in
	fresh  func() (policy.Policy, error) // makes another instance of it
	since  time.Time                     // when it was made
}

// adopt puts cfg and its policy into use. It returns the View that this publishes, and
// the policy used before.
func (c *current) adopt(cfg *config.Config, p chosenPolicy) (view *mam.View, last chosenPolicy) {
	c.nets.KeepRoutes(cfg.Routing == config.RoutingManage)
	c.mu.Lock()
	defer c.mu.Unlock()
	last, c.cfg, c.policy = c.policy, cfg, p
	return c.renewLocked(), last
}

// chosen returns the policy in use.
func (c *current) chosen() chosenPolicy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.policy
}

// run keeps the state up to date with the host's networks until ctx ends.
func (c *current) run(ctx context.Context) error {
	changes, cancel := c.nets.Subscribe()
	defer cancel()
	// The name servers of a link are polled. A network manager announces them some time
	// after the addresses, and an unprivileged process gets no reliable event for
	// changes of the files.
	tick := time.NewTicker(linkDNSInterval)
	defer tick.Stop()
	changed := true // changes before this moment were not noticed
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

// follow renews the whole state if something has changed that decisions depend on: the
// host's networks, their name servers, or facts about them. If only facts for people have
// changed, it publishes these. If nothing has, it does nothing.
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

// renewLocked derives the whole state from the present configuration and the present
// networks of the host, and publishes it. Each change of either takes effect by this
// function and no other. It never waits for files or for the kernel.
//
// It reads the networks under the lock. Conclusions that were drawn earlier may be
// outdated, and using them could undo a change that another goroutine has taken over
// since. The steps have this order because of what each needs:
//
//   - Name servers of links come before resolvers, which are made for them.
//   - Resolvers come before health, which probes through them.
//   - Measurements and health come before the View, which contains them. A network
//     that is gone, or new, must show at once and not at the next pass.
//   - The View is published whole, as the last step that affects answers.
//   - Then health is told that the View is in use, so that it can tell reports on a
//     new network from those on the one before.
//   - Routes come last. They take the longest, and no request should get a network
//     that is gone while they are being changed.
func (c *current) renewLocked() *mam.View {
	now, nets := time.Now(), c.nets.Snapshot()
	c.heard = c.facts.now()
	list := manage(c.cfg, nets, c.heard)
	anew := c.attached.look(list, nets, c.heard)
	c.links.use(c.cfg, list)
	c.epoch++
	c.snapshot, c.list, c.local = nets, list, local(nets)
	c.routes = newRoutes(c.nets.Kernel(), c.cfg, nets, list)
	c.lookups, c.domains = c.resolvers.of(c.cfg, nets, list, c.heard)
	for _, id := range anew { // who has the servers' addresses now may say something else
		if l, own := c.lookups[id].(lookup); own {
			l.r.Flush()
		}
	}
	c.measuring = measurable(list, nets, c.measureAll)
	c.sampler.Set(c.measuring)
	c.flows.Set(c.measuring)
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

// resumed is for when the host has slept. What was known before counts again only once it
// has been seen again.
func (c *current) resumed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attached.resumed()
	c.resolvers.forget()
	c.renewLocked()
}

// measured takes over the results of a pass of the sampler and publishes them.
func (c *current) measured(s *pathstat.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.health.flows(now, s.Time, s.Flows)
	c.budgets.count(now, s.Bytes)
	c.publishLocked()
}

// publish publishes a View of what the parts know now.
func (c *current) publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishLocked()
}

func (c *current) publishLocked() *mam.View {
	stats, judged := c.sampler.Snapshot().Of(c.measuring), c.health.judgement()
	prefixes := measured(c.list, stats)
	for _, p := range prefixes {
		p.Health = judged.health[p.ID]
	}
	c.resets.Networks(resettable(c.list, prefixes, judged.claimed, c.snapshot), c.local)
	c.budgets.apply(prefixes)
	own, other := c.domains.route(c.list, c.lookups, lookup{c.resolvers.unbound})
	v := &mam.View{
		Time: time.Now(), Epoch: c.epoch, Runner: c.policy.runner, Fresh: c.policy.fresh, PolicyFile: c.policy.file, PolicySettings: c.cfg.Policy.Settings, Prefixes: prefixes, Destinations: stats, Reports: c.flows, Connections: c.census,
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

// unmanaged returns the host's prefixes that are not managed, to show them to people.
// They have measurements only if the original's logs are written.
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

// prefixes returns the prefixes that cfg selects at this moment. A policy is made for
// them.
func (c *current) prefixes(cfg *config.Config) []*policy.Prefix {
	return measured(manage(cfg, c.nets.Snapshot(), c.facts.now()), c.sampler.Snapshot())
}

// networks returns what the kernel's routes depend on, and whether the daemon manages
// routes.
func (c *current) networks() (managed bool, list []managed, nets *netmon.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Routing == config.RoutingManage, c.list, c.snapshot
}

// state returns what the control socket shows about the configuration in use.
func (c *current) state() control.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return control.State{
		PolicySince: c.policy.since, PolicyFile: c.policy.file, Settings: c.cfg.Policy.Settings,
		ConfigFile: c.cfg.File, Loaded: c.policy.since,
		Routing: c.routed.show(c.cfg.Routing == config.RoutingManage),
	}
}
