// Package httpserver serves HTTP to whoever reaches a listener, within bounds of time,
// memory and connections. What is served, and to whom, is up to the caller.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of a connection. Requests have a few hundred bytes, so a peer that takes seconds
// for one is broken or hostile.
const (
	HeaderTimeout = 5 * time.Second
	ReadTimeout   = 10 * time.Second
	// WriteTimeout includes the time to make the answer.
	WriteTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

const (
	// MaxConns bounds the connections of a listener, and so the memory, of which each
	// takes some 40 kB. People and dashboards need a handful.
	MaxConns = 128
	// Where descriptors are few, one in filesOfConn may be for such a connection, so that
	// the daemon's other clients keep theirs. leastConns are served in any case.
	filesOfConn = 16
	leastConns  = 8
)

// Conns returns the number of connections that so many descriptors allow.
func Conns(files uint64) int { return max(leastConns, int(min(files/filesOfConn, MaxConns))) }

// New makes a server with the limits of this package. What goes wrong on a connection is
// logged at debug level.
func New(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: HeaderTimeout, ReadTimeout: ReadTimeout, WriteTimeout: WriteTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Metrics returns a handler that answers GET /metrics with metrics, and nothing else. A
// TCP listener has no credentials, so metrics must hold nothing that belongs to a single
// user.
func Metrics(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	return mux
}

// Serve has hs serve at l until ctx ends. Then it closes l, gives running requests, whose
// contexts end, a second to finish, and closes all connections. The error is nil after an
// orderly end.
func Serve(ctx context.Context, l net.Listener, hs *http.Server) error {
	requests, cancel := context.WithCancel(ctx)
	defer cancel()
	hs.BaseContext = func(net.Listener) context.Context { return requests }
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		// Requests that have not ended by then are cut off.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if hs.Shutdown(late) != nil {
			_ = hs.Close()
		}
	})
	err := hs.Serve(l)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	_ = hs.Close()
	return fmt.Errorf("serve HTTP at %v: %w", l.Addr(), err)
}

// Limit lets n connections of l be open at a time, and closes further ones at once.
func Limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n)}
}

type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &slotted{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			_ = c.Close()
		}
	}
}

type slotted struct {
	net.Conn
	free func()
}

func (c *slotted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
