package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/internal/process/limits"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// controlServer serves the control socket and, if configured, the metrics.
type controlServer struct {
	server  *control.Server
	socket  *unixsocket.Listener
	metrics net.Listener // nil: none
	handler http.Handler // of the metrics
	log     *slog.Logger
}

// openControl opens the listeners that cfg asks for. The control socket is at path,
// unless it was passed on. openControl fills in the Group of the options.
func openControl(handed *net.UnixListener, cfg *config.Config, path string, o control.Options) (*controlServer, error) {
	group, err := controlGroup(cfg)
	if err != nil {
		return nil, err
	}
	o.Group = group
	c := &controlServer{server: control.New(o), handler: o.Metrics, log: o.Logger}
	if c.socket, err = listen(handed, func() (*unixsocket.Listener, error) { return control.Listen(path, group) }); err != nil {
		return nil, inUse(err)
	}
	if cfg.Metrics.Listen.IsValid() {
		if c.metrics, err = net.Listen("tcp", cfg.Metrics.Listen.String()); err != nil {
			return nil, errors.Join(fmt.Errorf("serve metrics: %w", err), c.close())
		}
	}
	return c, nil
}

// controlGroup returns the id of the group that may read from the control socket, nil if
// there is none. The error says where the file names it.
func controlGroup(cfg *config.Config) (*uint32, error) {
	group, err := control.LookupGroup(cfg.ControlGroup)
	if err != nil {
		return nil, cfg.ErrorAt(cfg.Place("control_group"), "%v", err)
	}
	return group, nil
}

// run serves until ctx ends.
func (c *controlServer) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.server.Serve(ctx, c.socket) })
	if c.metrics != nil {
		g.Go(func() error {
			l := httpserver.Limit(c.metrics, httpserver.Conns(limits.Files()))
			return httpserver.Serve(ctx, l, httpserver.New(httpserver.Metrics(c.handler), c.log))
		})
	}
	return g.Wait()
}

// close removes the socket.
func (c *controlServer) close() error {
	if c.metrics != nil {
		_ = c.metrics.Close() // no error matters: run has closed it, or never began
	}
	return c.socket.Close()
}
