// Package grpcintent adds attributes to the spans of gRPC calls: which network a call
// went over, and why.
//
// All calls of a channel share a connection, which gRPC dials independently of them. So
// a Handler both dials and watches the calls:
//
//	h := &grpcintent.Handler{Dialer: &client.Dialer{Intents: intents}}
//	grpc.NewClient("passthrough:///"+address, grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
//		grpc.WithContextDialer(h.Dial), grpc.WithStatsHandler(h))
//
// The handler that makes the spans must come first.
package grpcintent

import (
	"context"
	"net"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/stats"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/otelintent"
)

// Handler dials with a Dialer, and adds the attributes of otelintent to the span of
// each call. It is safe for concurrent use, and may serve several channels.
type Handler struct {
	// Dialer makes the connections. If it is nil, the zero Dialer does.
	Dialer *client.Dialer

	mu    sync.Mutex
	conns map[ends]client.Info // of the open connections
}

var _ stats.Handler = (*Handler)(nil)

// ends are the addresses of a connection. gRPC tells nothing else about it.
type ends struct{ local, remote string }

func endsOf(local, remote net.Addr) ends {
	if local == nil || remote == nil {
		return ends{}
	}
	return ends{local.String(), remote.String()}
}

// Dial is for grpc.WithContextDialer.
func (h *Handler) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := h.Dialer
	if d == nil {
		d = &client.Dialer{}
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	info, ok := client.InfoOf(c)
	if !ok {
		return c, nil
	}
	at := endsOf(c.LocalAddr(), c.RemoteAddr())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		h.conns = map[ends]client.Info{}
	}
	h.conns[at] = info
	return &conn{Conn: c, handler: h, ends: at}, nil
}

// conn tells its Handler when it is closed.
type conn struct {
	net.Conn
	handler *Handler
	ends    ends
	once    sync.Once
}

// NetConn returns the connection itself, so that client.InfoOf finds it.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) Close() error {
	// This comes before the close, after which the kernel can give the addresses to
	// another connection.
	c.once.Do(func() { c.handler.forget(c.ends) })
	return c.Conn.Close()
}

func (h *Handler) forget(at ends) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, at)
}

// TagRPC implements stats.Handler.
func (h *Handler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler. It acts when the headers of a call are sent,
// because the call has its connection then.
func (h *Handler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	header, ok := s.(*stats.OutHeader)
	if !ok {
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	h.mu.Lock()
	info, ok := h.conns[endsOf(header.LocalAddr, header.RemoteAddr)]
	h.mu.Unlock()
	if ok {
		span.SetAttributes(otelintent.Attributes(&info)...)
	}
}

// TagConn implements stats.Handler.
func (h *Handler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (h *Handler) HandleConn(context.Context, stats.ConnStats) {}
