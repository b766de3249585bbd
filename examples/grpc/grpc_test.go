package grpc

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

func TestNewClient(t *testing.T) {
	from := make(chan string, 8)
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		p, _ := peer.FromContext(ctx)
		from <- network(p.Addr)
		return handle(ctx, req)
	}))
	healthpb.RegisterHealthServer(s, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	defer func() {
		s.Stop()
		<-done
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	daemon := manager(t)
	bulk := intent.Set{}.WithCategory(intent.CategoryBulkTransfer)
	for _, tt := range []struct {
		intents intent.Set
		want    string
	}{
		{intent.Set{}.WithCategory(intent.CategoryQuery), "127.0.0.2"},
		{bulk, "127.0.0.3"},
	} {
		c, err := NewClient(&client.Dialer{Daemon: daemon, Intents: tt.intents}, "api.test:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		// A call's own intents change nothing, because it shares the channel's
		// connection.
		for _, ctx := range []context.Context{t.Context(), intent.NewContext(t.Context(), bulk)} {
			if _, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
			if got := <-from; got != tt.want {
				t.Errorf("%v: from %s, want %s", tt.intents, got, tt.want)
			}
		}
		_ = c.Close()
	}
}

// manager is a manager by script: bulk transfers go from 127.0.0.3, the rest from
// 127.0.0.2. On Linux all of 127.0.0.0/8 is this host, so its addresses can stand for
// networks.
func manager(t *testing.T) *client.Daemon {
	t.Helper()
	m := clienttest.Start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2"), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
		if c, ok := r.Intents.Category(); ok && c == intent.CategoryBulkTransfer {
			a.Source = netip.MustParseAddr("127.0.0.3")
		}
		return a
	})
	d := &client.Daemon{Path: m.Path, DecisionTimeout: 10 * time.Second}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// network returns the address that the connection came from.
func network(a net.Addr) string { return a.(*net.TCPAddr).IP.String() }
