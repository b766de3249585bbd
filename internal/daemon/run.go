package daemon

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// Run serves clients until ctx ends or something fails for good. After an
// orderly end the error is nil. Sockets and FIFO are removed in any case.
func (d *Daemon) Run(ctx context.Context) (err error) {
	defer d.close()
	cfg := d.begun

	var listeners []*unixsocket.Listener
	defer func() {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
	}()
	socket := SocketPath(d.opts.Socket, cfg.Socket)
	if h := d.opts.Handed.Request; h != nil {
		socket = h.Addr().String()
	}
	// Whoever may run programs on this host may ask; what each of them may see is
	// bounded by the peer credentials.
	own, err := listen(d.opts.Handed.Request, func() (*unixsocket.Listener, error) { return unixsocket.Listen(socket, 0o666) })
	if err != nil {
		return inUse(err)
	}
	listeners = append(listeners, own)
	originals, err := d.listenForOriginals(cfg)
	if err != nil {
		return err
	}
	if originals != nil {
		listeners = append(listeners, originals)
	}
	var input *fifo
	if cfg.CompatFIFO != "" {
		if input, err = openFIFO(cfg.CompatFIFO); err != nil {
			return err
		}
		defer input.close()
	}

	serveControl, err := d.openControl(cfg, ControlPath(d.opts.Control, cfg.ControlSocket, socket))
	if err != nil {
		return inUse(err)
	}
	defer func() { err = errors.Join(err, serveControl.close()) }()

	router, err := d.openRouter()
	if err != nil {
		return err
	}

	if err := d.paths.open(cfg, d.manager); err != nil {
		if router != nil {
			router.kernel.Close() // nothing was changed yet
		}
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.paths.run(ctx) })
	if router != nil {
		router.begin(ctx)
		g.Go(func() error { return router.run(ctx) })
	}
	g.Go(func() error { return d.nets.Run(ctx) })
	g.Go(func() error { return ended(ctx, d.sampler.Run(ctx)) })
	g.Go(func() error { return d.follow(ctx) })
	g.Go(func() error { return d.health.run(ctx) })
	g.Go(func() error { return d.budgets.run(ctx) })
	g.Go(func() error { return d.manager.Run(ctx) })
	g.Go(func() error { return serveControl.run(ctx) })
	for _, l := range listeners {
		g.Go(func() error { return d.server.Serve(ctx, l.UnixListener) })
	}
	for _, l := range d.logs {
		g.Go(func() error { return ended(ctx, l.Run(ctx)) })
	}
	if d.recorder != nil {
		g.Go(func() error { return d.recorder.Run(ctx) })
	}
	if input != nil {
		g.Go(func() error { return input.run(ctx, d.log, d.manager.Reconfigure) })
	}
	if d.opts.OnAlive != nil && d.opts.Heartbeat > 0 {
		g.Go(func() error { return d.beat(ctx) })
	}
	d.log.Info("serving", "socket", socket, "control", serveControl.socket.Path())
	if err := d.announceSockets(cfg, socket, originals); err != nil {
		d.log.Warn("announcement not written", "err", err)
	}
	if d.opts.OnReady != nil {
		d.opts.OnReady()
	}
	return g.Wait()
}

// ended is the error of a task that returns its context's.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// inUse makes an error of unixsocket say what to do.
func inUse(err error) error {
	if e := (*unixsocket.InUseError)(nil); errors.As(err, &e) {
		who := "another mamma"
		if e.PID != 0 {
			who = fmt.Sprintf("another mamma (pid %d)", e.PID)
		}
		return fmt.Errorf("%s: %s answers there; stop it first, or use --socket", e.Path, who)
	}
	return err
}
