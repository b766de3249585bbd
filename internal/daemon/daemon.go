package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/network/census"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/network/reset"
	"github.com/socket-intents/mamma/internal/operator/busname"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/control/metrics"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/internal/process/suspend"
	"github.com/socket-intents/mamma/internal/scopes"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Options are the settings of a run. Socket and Control override the configuration.
type Options struct {
	ConfigPath string           // "": the automatic configuration
	Policies   policy.Catalogue // those that are compiled in
	Socket     string
	Control    string
	Overrides  Overrides
	Stdout     io.Writer    // gets what a person reads at start and reload; nil: nobody
	Log        *slog.Logger // nil: nothing is logged
	Version    string
	// Trace logs every message of the request sockets at debug level.
	Trace bool
	// Profiling permits profiles at the control socket, for those who may change things
	// there.
	Profiling bool
	// OnConfig is called with the configuration before its effects: at the start before
	// the policy is made, and at each successful reload just before the new
	// configuration is used. It may be nil.
	OnConfig func(*config.Config)
	// OnReady is called as soon as clients can connect, and scopes are in use. It may be
	// nil.
	OnReady func()
	// Handed are the sockets that the service manager has made. Run makes the missing
	// ones.
	Handed Handed
	// OnAlive is called at intervals of Heartbeat as long as nothing is stuck. It may
	// be nil. A Heartbeat of zero means never.
	OnAlive   func()
	Heartbeat time.Duration
	// LinkKind is netmon.Options.Kind; nil outside of tests.
	LinkKind func(name, kernel string) string
}

// Daemon is a Multi Access Manager with everything around it. It only connects its
// parts. Each part has its own state, and a run method if it needs a goroutine. What
// one part tells another is written in this file.
type Daemon struct {
	opts    Options
	log     *slog.Logger
	begun   *config.Config // configuration of the start; has the settings that a reload cannot change
	started time.Time

	nets     hostNetworks          // which networks there are
	sampler  *pathstat.Sampler     // what they carry
	flows    *pathstat.Reports     // what programs say of their datagrams
	census   *census.Census        // whose connections use them
	attached *attachments          // what they are attached to
	links    *linkDNS              // their name servers
	facts    hostFacts             // what other services say about them
	health   *healthWatch          // whether they work
	budgets  *budgets              // what is left of their budgets
	paths    *paths                // MPTCP's paths
	resets   *reset.Resetter       // ends connections on networks that are down
	current  *current              // all of that, and the configuration, as Views
	manager  *mam.Manager          // decides on the Views
	server   *mam.Server           // serves clients
	scopes   *scopes.Engine        // serves programs that take no part
	reloads  *reloader             // serves the operator's reloads
	logs     []*pathstat.Log       // the original's measurement logs; empty: switched off
	recorder *decisionlog.Recorder // nil: decisions are not recorded
	metrics  *metrics.Metrics
	past     *control.Past   // measurements of the past, for people
	shown    *busname.Server // shows the state to other programs, on the system bus; nil: switched off
	page     *generation.Own // nil: no leases are granted
}

// hostNetworks watches the host's networks. Outside of tests it is a *netmon.Monitor,
// whose methods describe it.
type hostNetworks interface {
	Snapshot() *netmon.Snapshot
	Subscribe() (changes <-chan struct{}, cancel func())
	Kernel() *oracle.Kernel
	KeepRoutes(bool)
	OnEvent(func())
	Refresh()
	Run(context.Context) error
	Close()
}

// New reads the configuration and the host's networks, and loads the policy. The caller
// must call Run, which also releases what New has opened.
func New(ctx context.Context, opts Options) (*Daemon, error) {
	return newDaemon(ctx, opts, func(cfg *config.Config, log *slog.Logger) (hostNetworks, error) {
		return netmon.New(netmon.Options{
			Kind: opts.LinkKind, Everywhere: oracle.EverywhereOf(cfg.FarAway), Routes: cfg.Routing == config.RoutingManage,
		}, log)
	})
}

func newDaemon(ctx context.Context, opts Options, watch func(*config.Config, *slog.Logger) (hostNetworks, error)) (*Daemon, error) {
	d := &Daemon{opts: opts, log: opts.Log, started: time.Now(), past: control.NewPast()}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if opts.Stdout == nil {
		d.opts.Stdout = io.Discard
	}
	if err := d.opts.absolute(); err != nil {
		return nil, err
	}
	load := &loader{known: opts.Policies}
	cfg, err := load.configuration(ctx, &d.opts)
	if err != nil {
		return nil, err
	}
	if d.nets, err = watch(cfg, d.log); err != nil {
		return nil, fmt.Errorf("read the host's networks: %w", err)
	}
	d.begun = cfg
	d.connect(cfg)
	d.reloads = &reloader{
		log: d.log, loader: load, opts: &d.opts, begun: cfg, current: d.current, budgets: d.budgets, scopes: d.scopes,
	}
	if opts.OnConfig != nil {
		opts.OnConfig(cfg)
	}
	d.paths.look(time.Now())
	d.links.look(d.nets.Snapshot(), nil)
	if err := d.reloads.start(cfg); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// connect makes the parts, and tells each part about the others that it needs.
func (d *Daemon) connect(cfg *config.Config) {
	resolvers := newResolvers(d.log)
	d.links = &linkDNS{}
	d.facts = newHostFacts(cfg, d.log)
	d.budgets = &budgets{log: d.log, file: budgetPath(StateDir(cfg.StateDirectory))}
	d.health = newHealthWatch(lookup{resolvers.unbound}, func() { d.current.publish() }, d.log)
	d.paths = &paths{log: d.log}
	d.resets = reset.New(nil, d.log)
	d.census = census.New(
		func(e census.Ended) { d.manager.ConnectionEnded(e.Connection, e.Over, e.Decider) },
		func(t census.Transfer) { d.manager.TransferMeasured(t.ID, &t.Measurement) },
	)
	d.attached = openAttachments(StateDir(cfg.StateDirectory), d.log)
	d.sampler = pathstat.New(pathstat.Options{
		Interval: cfg.Sampling.Interval, MaxInterval: slowest(cfg), CPU: float64(cfg.Sampling.CPU), OnSnapshot: d.measured, Watcher: d.census, Memory: d.attached.memory,
		OnEnded: func(e pathstat.Ended) { d.scopes.Ended(e.Cookie, e.Sent+e.Received) },
		Observe: d.observe,
	}, d.log)
	d.flows = pathstat.NewReports(nil)
	d.metrics = metrics.New(func() *mam.View { return d.manager.View() }, func() int { return d.server.Clients() },
		func() mam.PlainDials { return d.manager.PlainDials() }, d.opts.Version, d.started)
	d.metrics.AddMPTCP(mptcpCounters)
	d.metrics.AddResets(d.resets.Ended)
	options := mam.Options{
		Logger: d.log, Trace: d.opts.Trace, Keep: cfg.Decisions.Keep,
		OnReport: d.reported, OnFlow: d.flow, OnReconfigure: d.paths.reconfigured, OnDecision: d.decided,
	}
	if path := cfg.Decisions.Record; path != "" {
		d.recorder = decisionlog.NewRecorder(path, int64(cfg.Decisions.RecordMax), d.log)
		options.OnCall, options.OnTransfer = d.recorder.Note, d.recorder.NoteTransfer
	}
	options.Generations, options.OnLeased = d.openPage(), d.leased
	d.manager = mam.New(options)
	if bus := systemBus(cfg); bus != "" {
		d.shown = busname.New(busname.Options{Bus: bus, Manager: d.manager, Version: d.opts.Version, Log: d.log})
	}
	d.server = mam.NewServer(d.manager)
	d.scopes = d.newScopes(StateDir(cfg.StateDirectory))
	d.metrics.AddScopes(d.scopesMetrics)
	d.nets.OnEvent(func() {
		d.manager.VoidLeases()
		d.scopes.RoutesChanged()
	})
	if cfg.Logs.Prefixes != "" {
		d.logs = append(d.logs, pathstat.NewPrefixLog(cfg.Logs.Prefixes, d.log))
	}
	if cfg.Logs.Interfaces != "" {
		d.logs = append(d.logs, pathstat.NewInterfaceLog(cfg.Logs.Interfaces, d.log))
	}
	d.current = &current{
		nets: d.nets, sampler: d.sampler, flows: d.flows, census: d.census, attached: d.attached, links: d.links, facts: d.facts, health: d.health, budgets: d.budgets, paths: d.paths, resets: d.resets,
		measureAll: len(d.logs) > 0, publishTo: d.published, resolvers: resolvers, rerouted: make(chan struct{}, 1), routed: &routeState{},
	}
}

// slowest returns the greatest time between two measurements on a quiet host. If the
// original's logs are written, this is never more than the configured interval, because
// readers of these logs take the number of lines for a time
// (doc/original/measurement.md section 1).
func slowest(cfg *config.Config) time.Duration {
	if cfg.Logs.Prefixes != "" || cfg.Logs.Interfaces != "" {
		return cfg.Sampling.Interval
	}
	return pathstat.DefaultMaxInterval
}

// openPage makes the page that tells clients how long their leases hold. If that fails
// it returns nil, and clients ask about each connection.
func (d *Daemon) openPage() *generation.Own {
	page, err := generation.Make()
	if err != nil {
		d.log.Warn("decisions hold for one connection each", "err", err)
		return nil
	}
	d.page = page
	return page
}

// absolute makes the paths absolute, so that they mean the same to every process that
// is told of them.
func (o *Options) absolute() error {
	paths := []*string{&o.ConfigPath, &o.Socket, &o.Control}
	for _, path := range o.Overrides.paths() {
		if *path != config.Off {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("where %s is: %w", *path, err)
		}
		*path = abs
	}
	return nil
}

func (d *Daemon) close() {
	if d.page != nil {
		_ = d.page.Close()
	}
	d.nets.Close()
	d.current.resolvers.close()
}

// Reload reads the configuration again. All steps that can fail come before the first
// effect, so that after an error the old state is still in use.
func (d *Daemon) Reload(ctx context.Context) error { return d.reloads.reload(ctx) }

// measured takes the results of each pass of the sampler.
func (d *Daemon) measured(s *pathstat.Snapshot) {
	for _, l := range d.logs {
		l.Record(s)
	}
	d.paths.look(time.Now())
	d.current.measured(s)
	d.manager.Measured(time.Now())
}

// published takes every View, one call at a time. It passes the View to the MPTCP
// paths, because the path manager asks the View's policy.
func (d *Daemon) published(v *mam.View) {
	d.past.Note(v, d.sampler.Snapshot().Ended)
	d.manager.Publish(v)
	if d.shown != nil {
		d.shown.Published(v)
	}
	d.paths.published(v)
	d.scopes.Published(v)
}

// decided takes every decision. It is called on the request path, so it must be quick.
func (d *Daemon) decided(r *mam.Record) {
	d.sampler.Wake()
	d.census.Decided(r)
	d.metrics.Observe(r)
}

// leased takes the connections that a client reports by leases.
func (d *Daemon) leased(r *mam.Record, uses uint32) {
	d.sampler.Wake()
	d.metrics.Leased(r, uses)
}

// reported takes each report of a client. It is called on the request path, so it must be
// quick.
func (d *Daemon) reported(rec mam.Record) {
	d.metrics.Reported(&rec)
	d.census.Reported(&rec)
	d.paths.reported(rec)
	d.health.reported(rec)
}

// flow takes what a client reports of datagrams of its own. It, too, must be quick.
func (d *Daemon) flow(f *mam.FlowReport) {
	d.flows.Add(f.App.UID, &pathstat.FlowReport{
		Over: f.Over, Remote: f.Remote.Addr(), Port: f.Local.Port(), RTT: f.RTT, RTTVar: f.Var, Sent: f.Sent, Lost: f.Lost, Last: f.Last,
	})
	d.health.flow(f)
}

// resumed is called when the host has slept: what was known before may be of other
// networks. slept is 0 if nobody says how long.
func (d *Daemon) resumed(slept time.Duration) {
	d.log.Info("the host was asleep; looking at the networks anew", "slept", slept.Round(time.Second))
	d.manager.VoidLeases()
	d.nets.Refresh()
	d.facts.askAgain()
	d.current.resumed()
}

// forget drops what was measured at the attachments of an interface, "" for all, and tells how
// many are forgotten.
func (d *Daemon) forget(iface string) int {
	n := d.attached.memory.Forget(iface)
	d.sampler.Forget(iface)
	d.flows.Forget(iface)
	d.attached.save(false)
	return n
}

// state returns what the control socket shows besides the View.
func (d *Daemon) state() control.State {
	clients := d.server.Clients()
	s := d.current.state()
	s.Clients = &clients
	s.LoadError, s.LoadErrorTime = d.reloads.failure()
	return s
}

// Run serves clients until ctx ends or something fails for good. The error is nil after
// an orderly end. Sockets and FIFO that it has made are removed in both cases.
func (d *Daemon) Run(ctx context.Context) (err error) {
	defer d.close()
	cfg := d.begun
	requests, err := openRequests(d.opts.Handed, d.opts.Socket, cfg, d.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, requests.close()) }()
	input, err := openFIFO(cfg.CompatFIFO)
	if err != nil {
		return err
	}
	defer input.close()
	serveControl, err := openControl(d.opts.Handed.Control, cfg, ControlPath(d.opts.Control, cfg.ControlSocket, requests.path), control.Options{
		Manager: d.manager, State: d.state, Reload: d.Reload, Forget: d.forget,
		Multipath: func() (control.Multipath, error) { return d.paths.multipath(d.manager) },
		Scopes:    d.scopesState, DetachScopes: d.scopes.Detach,
		Past: d.past, Metrics: d.metrics.Handler(), Profiling: d.opts.Profiling, Version: d.opts.Version, Started: d.started, Logger: d.log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, serveControl.close()) }()
	router, err := openRouter(d.current, d.log)
	if err != nil {
		return err
	}
	if err := d.paths.open(cfg, d.manager); err != nil {
		router.giveUp()
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.paths.run(ctx) })
	router.begin(ctx)
	g.Go(func() error { return router.run(ctx) })
	g.Go(func() error { return d.nets.Run(ctx) })
	g.Go(func() error { return ended(ctx, d.sampler.Run(ctx)) })
	g.Go(func() error { return d.facts.run(ctx) })
	if d.shown != nil {
		g.Go(func() error { return d.shown.Run(ctx) })
	}
	g.Go(func() error { return d.current.run(ctx) })
	g.Go(func() error { return suspend.Watch(ctx, d.resumed) })
	g.Go(func() error { return d.facts.resumed(ctx, func() { d.resumed(0) }) })
	g.Go(func() error { return d.health.run(ctx) })
	g.Go(func() error { return d.resets.Run(ctx) })
	g.Go(func() error { return d.budgets.run(ctx) })
	g.Go(func() error { return d.attached.run(ctx) })
	g.Go(func() error { return d.manager.Run(ctx) })
	d.scopes.Begin()
	g.Go(func() error { return d.scopes.Run(ctx) })
	g.Go(func() error { return serveControl.run(ctx) })
	for _, l := range requests.all() {
		g.Go(func() error { return d.server.Serve(ctx, l.UnixListener) })
	}
	for _, l := range d.logs {
		g.Go(func() error { return ended(ctx, l.Run(ctx)) })
	}
	if d.recorder != nil {
		g.Go(func() error { return d.recorder.Run(ctx) })
	}
	g.Go(func() error { return input.run(ctx, d.log, d.manager.Reconfigure) })
	g.Go(func() error { return d.beat(ctx) })
	d.log.Info("serving", "socket", requests.path, "control", serveControl.socket.Path())
	if err := requests.announce(d.opts.Stdout, cfg); err != nil {
		d.log.Warn("announcement not written", "err", err)
	}
	if d.opts.OnReady != nil {
		d.reloads.settle(ctx) // services that are started after this one are placed from the first connection on
		d.opts.OnReady()
	}
	err = g.Wait()
	d.attached.save(false)                             // the sampler has handed over everything at its end
	_ = announceEnd(d.opts.Stdout, d.current.chosen()) // an error is ignored: the reader of the output may be gone
	return err
}

// ended returns nil if a task ended with the error of its context.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
