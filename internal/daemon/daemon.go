package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/operator/control/metrics"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Options say how to run. Socket and Control override the configuration.
type Options struct {
	ConfigPath string           // "": the automatic configuration
	Policies   policy.Catalogue // those that are compiled in
	Socket     string
	Control    string
	Stdout     io.Writer    // for what a person reads at start and reload; nil: nowhere
	Log        *slog.Logger // nil: nothing is logged
	Version    string
	// OnConfig is called with the configuration at start and after each reload,
	// before it takes effect; may be nil.
	OnConfig func(*config.Config)
	// OnReady is called once clients can connect; may be nil.
	OnReady func()
	// Handed are sockets that the service manager has made. Those missing are
	// made by Run.
	Handed Handed
	// OnAlive is called every Heartbeat as long as nothing is stuck; may be nil.
	// Zero: never.
	OnAlive   func()
	Heartbeat time.Duration
	// LinkKind is netmon.Options.Kind; nil outside of tests.
	LinkKind func(name, kernel string) string
}

// Daemon is a Multi Access Manager with everything around it.
type Daemon struct {
	opts    Options
	log     *slog.Logger
	nets    *netmon.Monitor
	sampler *pathstat.Sampler
	manager *mam.Manager
	server  *mam.Server
	loader  loader
	health  *healthWatch
	budgets *budgets
	paths   *paths
	logs    []*pathstat.Log // the original's measurement logs, if switched on

	recorder *decisionlog.Recorder // nil: decisions are not recorded
	metrics  *metrics.Metrics
	started  time.Time

	reloading sync.Mutex // held for the length of a reload; before mu

	mu        sync.Mutex // what Views are made from
	cfg       *config.Config
	loaded    loaded
	runner    *mam.Runner
	resolvers *resolvers
	lookups   map[policy.PrefixID]mam.Resolver
	list      []managed
	snapshot  *netmon.Snapshot
	linkDNS   map[int][]netip.AddrPort // of interfaces, as their network manager has them
	local     func(netip.Addr) bool

	rerouted chan struct{} // one slot: routes may have to change
}

// New reads the configuration and the host's networks and loads the policy. A
// Daemon that New returned must be Run.
func New(opts Options) (*Daemon, error) {
	d := &Daemon{opts: opts, log: opts.Log, loader: loader{known: opts.Policies}, rerouted: make(chan struct{}, 1)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if opts.Stdout == nil {
		d.opts.Stdout = io.Discard
	}
	cfg, err := d.loadConfig()
	if err != nil {
		return nil, err
	}
	if d.nets, err = netmon.New(netmon.Options{Kind: opts.LinkKind}, d.log); err != nil {
		return nil, fmt.Errorf("read the host's networks: %w", err)
	}
	d.resolvers = newResolvers(d.log)
	d.budgets = &budgets{log: d.log, file: budgetPath(StateDir(cfg.StateDirectory))}
	d.health = newHealthWatch(lookup{d.resolvers.unbound}, d.publish, d.log)
	d.paths = &paths{log: d.log}
	d.started = time.Now()
	d.metrics = metrics.New(func() *mam.View { return d.manager.View() }, func() int { return d.server.Clients() }, opts.Version, d.started)
	d.metrics.AddMPTCP(mptcpCounters)
	options := mam.Options{Logger: d.log, Keep: cfg.Decisions.Keep, OnReport: d.reported, OnReconfigure: d.paths.reconfigured, OnDecision: d.decided}
	if path := cfg.Decisions.Record; path != "" {
		d.recorder = decisionlog.NewRecorder(path, int64(cfg.Decisions.RecordMax), d.log)
		options.OnChoice = d.recorder.Note
	}
	d.manager = mam.New(options)
	d.server = mam.NewServer(d.manager)
	if cfg.Logs.Prefixes != "" {
		d.logs = append(d.logs, pathstat.NewPrefixLog(cfg.Logs.Prefixes, d.log))
	}
	if cfg.Logs.Interfaces != "" {
		d.logs = append(d.logs, pathstat.NewInterfaceLog(cfg.Logs.Interfaces, d.log))
	}
	d.sampler = pathstat.New(pathstat.Options{Interval: cfg.Sampling.Interval, OnSnapshot: d.measured}, d.log)
	d.paths.look()
	if err := d.adopt(cfg); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) close() {
	d.nets.Close()
	d.resolvers.close()
}

func (d *Daemon) loadConfig() (*config.Config, error) {
	if d.opts.ConfigPath == "" {
		return config.Auto(), nil
	}
	return d.loader.readConfig(d.opts.ConfigPath)
}

// adopt makes cfg the configuration, once its policy could be made.
func (d *Daemon) adopt(cfg *config.Config) error {
	if err := checkRouting(cfg); err != nil {
		return err
	}
	snapshot := d.nets.Snapshot()
	list := manage(cfg, snapshot)
	for _, w := range cfg.Warnings {
		d.log.Warn(w.String())
	}
	for _, w := range twoDefaults(list) {
		d.log.Warn(w)
	}
	if d.opts.OnConfig != nil {
		d.opts.OnConfig(cfg)
	}
	var runner *mam.Runner
	name := "none"
	now := loaded{at: time.Now()}
	if cfg.Policy.Name != "" {
		c, err := d.loader.constructor(cfg)
		if err != nil {
			return err
		}
		name, now.file = c.name, c.file
		now.fresh = func() (policy.Policy, error) {
			return makePolicy(cfg, c.make, measured(list, d.sampler.Snapshot()))
		}
		p, err := now.fresh()
		if err != nil {
			return err
		}
		runner = mam.NewRunner(name, p, d.log)
	}

	d.budgets.open(cfg)
	d.mu.Lock()
	d.cfg, d.runner, d.loaded = cfg, runner, now
	d.setNetworksLocked(snapshot, list)
	view := d.publishLocked()
	d.mu.Unlock()

	if err := d.announce(name, view); err != nil {
		// The configuration is in use by now, whether somebody reads of it or not.
		d.log.Warn("announcement not written", "err", err)
	}
	return nil
}

// announce writes what a person wants to see when a policy was loaded.
func (d *Daemon) announce(name string, v *mam.View) error {
	out := d.opts.Stdout
	if v.Runner == nil {
		_, err := fmt.Fprintln(out, "No policy is configured: every request is answered without a suggestion.")
		return err
	}
	if _, err := fmt.Fprintf(out, "Policy module %q is loading.\n", name); err != nil {
		return err
	}
	if err := v.WriteAnnouncement(out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "Policy module %q has been loaded.\n", name)
	return err
}

// setNetworksLocked takes over which prefixes there are.
func (d *Daemon) setNetworksLocked(snapshot *netmon.Snapshot, list []managed) {
	now := time.Now()
	d.snapshot, d.list, d.local = snapshot, list, local(snapshot)
	d.budgets.networks(now, list, d.sampler.Snapshot().Bytes)
	select {
	case d.rerouted <- struct{}{}:
	default:
	}
	d.linkDNS = linkServers(d.cfg, list, "")
	useLinkServers(list, d.linkDNS)
	d.lookups = d.resolvers.of(list)
	d.health.networks(now, d.cfg.Probe, list, snapshot, d.lookups)
	d.sampler.Set(measurable(list, snapshot))
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
	d.health.flows(now, s.Flows)
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
		Routes: routes{d.snapshot}, Devices: map[policy.PrefixID]string{},
		Resolver: lookup{d.resolvers.unbound}, Resolvers: d.lookups, Avoid: judged.avoid, Local: d.local, AvoidMetered: d.cfg.AvoidMetered,
		Fresh: d.loaded.fresh, NoMultipath: d.paths.refused.Load(),
	}
	for i := range d.list {
		if m := &d.list[i]; m.device != "" {
			v.Devices[m.prefix.ID] = m.device
		}
	}
	d.manager.Publish(v)
	d.paths.published(v)
	return v
}
