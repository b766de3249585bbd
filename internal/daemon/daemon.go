package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
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
	Overrides  Overrides
	Stdout     io.Writer    // for what a person reads at start and reload; nil: nowhere
	Log        *slog.Logger // nil: nothing is logged
	Version    string
	// Trace has every message of the request sockets logged at debug level.
	Trace bool
	// Profiling lets those who may change things take profiles at the control socket.
	Profiling bool
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
	nets    hostNetworks
	sampler *pathstat.Sampler
	manager *mam.Manager
	server  *mam.Server
	loader  loader
	links   *linkDNS
	health  *healthWatch
	budgets *budgets
	paths   *paths
	logs    []*pathstat.Log // the original's measurement logs, if switched on

	recorder *decisionlog.Recorder // nil: decisions are not recorded
	metrics  *metrics.Metrics
	started  time.Time
	begun    *config.Config // of the start: what it says is in use until the end, where a reload changes nothing

	reloading sync.Mutex // held for the length of a reload; before mu

	mu        sync.Mutex // what Views are made from
	cfg       *config.Config
	loaded    loaded
	runner    *mam.Runner
	resolvers *resolvers
	lookups   map[policy.PrefixID]mam.Resolver
	list      []managed
	snapshot  *netmon.Snapshot
	routes    routes
	local     func(netip.Addr) bool

	rerouted chan struct{} // one slot: routes may have to change
}

// hostNetworks is what watches the host's networks: a *netmon.Monitor, described
// there.
type hostNetworks interface {
	Snapshot() *netmon.Snapshot
	Subscribe() (changes <-chan struct{}, cancel func())
	Kernel() *oracle.Kernel
	KeepRoutes(bool)
	Run(context.Context) error
	Close()
}

// New reads the configuration and the host's networks and loads the policy. A
// Daemon that New returned must be Run.
func New(opts Options) (*Daemon, error) {
	return newDaemon(opts, func(cfg *config.Config, log *slog.Logger) (hostNetworks, error) {
		return netmon.New(netmon.Options{
			Kind: opts.LinkKind, Everywhere: oracle.EverywhereOf(cfg.FarAway), Routes: cfg.Routing == config.RoutingManage,
		}, log)
	})
}

func newDaemon(opts Options, watch func(*config.Config, *slog.Logger) (hostNetworks, error)) (*Daemon, error) {
	d := &Daemon{opts: opts, log: opts.Log, loader: loader{known: opts.Policies}, rerouted: make(chan struct{}, 1)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if opts.Stdout == nil {
		d.opts.Stdout = io.Discard
	}
	if err := d.opts.absolute(); err != nil {
		return nil, err
	}
	cfg, err := d.loadConfig()
	if err != nil {
		return nil, err
	}
	if d.nets, err = watch(cfg, d.log); err != nil {
		return nil, fmt.Errorf("read the host's networks: %w", err)
	}
	d.begun = cfg
	d.links = &linkDNS{}
	d.resolvers = newResolvers(d.log)
	d.budgets = &budgets{log: d.log, file: budgetPath(StateDir(cfg.StateDirectory))}
	d.health = newHealthWatch(lookup{d.resolvers.unbound}, d.publish, d.log)
	d.paths = &paths{log: d.log}
	d.started = time.Now()
	d.metrics = metrics.New(func() *mam.View { return d.manager.View() }, func() int { return d.server.Clients() },
		func() mam.PlainDials { return d.manager.PlainDials() }, opts.Version, d.started)
	d.metrics.AddMPTCP(mptcpCounters)
	options := mam.Options{Logger: d.log, Trace: opts.Trace, Keep: cfg.Decisions.Keep, OnReport: d.reported, OnReconfigure: d.paths.reconfigured, OnDecision: d.decided}
	if path := cfg.Decisions.Record; path != "" {
		d.recorder = decisionlog.NewRecorder(path, int64(cfg.Decisions.RecordMax), d.log)
		options.OnCall = d.recorder.Note
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
	d.links.look(d.nets.Snapshot())
	if err := d.adopt(cfg); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// absolute makes the paths mean the same to whoever is told of them.
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
	d.nets.Close()
	d.resolvers.close()
}
