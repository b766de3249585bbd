package pgx

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

func TestConnect(t *testing.T) {
	port, from := serve(t)
	d := &client.Dialer{Daemon: manager(t)}
	for _, tt := range []struct {
		intents intent.Set
		want    string
	}{
		{intent.Set{}.WithCategory(intent.CategoryQuery), "127.0.0.2"},
		{intent.Set{}.WithCategory(intent.CategoryBulkTransfer), "127.0.0.3"},
	} {
		ctx := intent.NewContext(t.Context(), tt.intents)
		// The host's resolver does not know this name; the manager's does.
		conn, err := Connect(ctx, d, "postgres://user@db.test:"+port+"/shop?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(ctx); err != nil {
			t.Error(err)
		}
		_ = conn.Close(context.WithoutCancel(ctx))
		if got := <-from; got != tt.want {
			t.Errorf("%v: from %s, want %s", tt.intents, got, tt.want)
		}
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

// serve is the part of a PostgreSQL server that a ping needs. It sends the network of
// each connection.
func serve(t *testing.T) (port string, from <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	networks := make(chan string, 8)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			networks <- network(c.RemoteAddr())
			conns.Go(func() { session(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, networks
}

func session(c net.Conn) {
	defer func() { _ = c.Close() }()
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		if _, ok := m.(*pgproto3.Query); ok {
			b.Send(&pgproto3.EmptyQueryResponse{})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}
