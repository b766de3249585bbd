package grpcintent_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/otelintent"
	"github.com/socket-intents/mamma/otelintent/grpcintent"
)

// serve runs a health service and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().String()
}

// The span of each call says which network its channel's connection goes over. Two
// channels have two connections.
func TestHandler(t *testing.T) {
	address := serve(t)
	sources := map[string]bool{"127.0.0.2": true, "127.0.0.3": true}
	next := make(chan string, len(sources))
	for s := range sources {
		next <- s
	}
	m := clienttest.Start(t, func(clienttest.Request) clienttest.Answer {
		return clienttest.Answer{Source: netip.MustParseAddr(<-next), Reason: "tested"}
	})
	daemon := &client.Daemon{Path: m.Path, DecisionTimeout: 10 * time.Second}
	defer func() { _ = daemon.Close() }()
	h := &grpcintent.Handler{Dialer: &client.Dialer{Daemon: daemon}}
	for range len(sources) {
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(provider))), grpc.WithContextDialer(h.Dial), grpc.WithStatsHandler(h))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		ended := spans.Ended()
		if len(ended) != 2 {
			t.Fatalf("%d spans", len(ended))
		}
		first, second := attributes(ended[0]), attributes(ended[1])
		network := first[otelintent.Network].AsString()
		if !sources[network] || first[otelintent.Reason].AsString() != "tested" || first[otelintent.DecisionID].AsString() == "" {
			t.Errorf("the first call says %v", first)
		}
		if second[otelintent.Network].AsString() != network || second[otelintent.DecisionID] != first[otelintent.DecisionID] {
			t.Errorf("the second call of the channel says %v, the first %v", second, first)
		}
		delete(sources, network)
	}
	if len(sources) != 0 {
		t.Errorf("nothing went over %v", sources)
	}
}

func attributes(s sdktrace.ReadOnlySpan) map[attribute.Key]attribute.Value {
	m := map[attribute.Key]attribute.Value{}
	for _, a := range s.Attributes() {
		m[a.Key] = a.Value
	}
	return m
}

// If a connection cannot be made, the result is an error, and the Handler remembers
// nothing.
func TestDialFails(t *testing.T) {
	h := &grpcintent.Handler{Dialer: &client.Dialer{Daemon: &client.Daemon{Path: t.TempDir() + "/none"}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if c, err := h.Dial(t.Context(), l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("connected to a port at which nobody listens")
	}
}
