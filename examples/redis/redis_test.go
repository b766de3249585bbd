package redis

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

func TestNewClient(t *testing.T) {
	server := miniredis.RunT(t)
	daemon := manager(t)
	for _, tt := range []struct {
		intents intent.Set
		want    string
	}{
		{intent.Set{}.WithCategory(intent.CategoryQuery), "127.0.0.2"},
		{intent.Set{}.WithCategory(intent.CategoryBulkTransfer), "127.0.0.3"},
	} {
		d := &client.Dialer{Daemon: daemon, Intents: tt.intents}
		c := NewClient(d, net.JoinHostPort("redis.test", server.Port()))
		from := seen(c)
		if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Get(t.Context(), "key").Result(); err != nil || got != "value" {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.Close()
		if got := <-from; got != tt.want {
			t.Errorf("%v: from %s, want %s", tt.intents, got, tt.want)
		}
	}
}

// seen returns a channel that gets the network of each connection of c.
func seen(c *redis.Client) <-chan string {
	networks := make(chan string, 8)
	c.AddHook(hook(networks))
	return networks
}

type hook chan string

func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, proto, address string) (net.Conn, error) {
		c, err := next(ctx, proto, address)
		if err == nil {
			h <- network(c.LocalAddr())
		}
		return c, err
	}
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
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
