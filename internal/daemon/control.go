package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// loaded is what is known of the configuration in use.
type loaded struct {
	at    time.Time
	file  string                        // of the policy's plugin; "" if compiled in
	fresh func() (policy.Policy, error) // another one like the policy in use; nil if there is none

	// Of the latest reload, if it failed.
	err   error
	errAt time.Time
}

// decided is called for every decision, on the request path.
func (d *Daemon) decided(r *mam.Record) {
	d.sampler.Wake()
	d.metrics.Observe(r)
}

// reloaded notes how a reload went.
func (d *Daemon) reloaded(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loaded.err, d.loaded.errAt = err, time.Now()
}

// state is what the control socket shows beside the View.
func (d *Daemon) state() control.State {
	clients := d.server.Clients()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := control.State{
		PolicySince: d.loaded.at, PolicyFile: d.loaded.file, Settings: d.cfg.Policy.Settings,
		ConfigFile: d.cfg.File, Loaded: d.loaded.at, Clients: &clients,
	}
	if d.loaded.err != nil {
		s.LoadError, s.LoadErrorTime = d.loaded.err.Error(), d.loaded.errAt
	}
	return s
}

// controlServer is the control socket, and the metrics' listener if there is one.
type controlServer struct {
	server  *control.Server
	socket  *unixsocket.Listener
	metrics net.Listener // nil: none
	daemon  *Daemon
}

func (d *Daemon) openControl(cfg *config.Config, path string) (*controlServer, error) {
	group, err := control.LookupGroup(cfg.ControlGroup)
	if err != nil {
		return nil, err
	}
	c := &controlServer{daemon: d, server: control.New(control.Options{
		Manager: d.manager, State: d.state, Group: group, Metrics: d.metrics.Handler(), Multipath: func() (control.Multipath, error) { return d.paths.multipath(d.manager) },
		Reload:    func(context.Context) error { return d.Reload() },
		Profiling: d.opts.Profiling, Version: d.opts.Version, Started: d.started, Logger: d.log,
	})}
	if c.socket, err = listen(d.opts.Handed.Control, func() (*unixsocket.Listener, error) { return control.Listen(path, group) }); err != nil {
		return nil, err
	}
	if cfg.Metrics.Listen.IsValid() {
		if c.metrics, err = net.Listen("tcp", cfg.Metrics.Listen.String()); err != nil {
			return nil, errors.Join(fmt.Errorf("serve metrics: %w", err), c.close())
		}
	}
	return c, nil
}

// run serves until ctx ends.
func (c *controlServer) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.server.Serve(ctx, c.socket) })
	if c.metrics != nil {
		g.Go(func() error { return control.ServeMetrics(ctx, c.metrics, c.daemon.metrics.Handler(), c.daemon.log) })
	}
	return g.Wait()
}

// close removes the socket.
func (c *controlServer) close() error {
	if c.metrics != nil {
		_ = c.metrics.Close() // run has closed it before, or never began
	}
	return c.socket.Close()
}
