package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(nc, config) })
		}
	})
	defer serving.Wait()
	defer func() { _ = l.Close() }()

	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := &client.Dialer{Daemon: manager(t)}
	for _, tt := range []struct {
		intents intent.Set
		want    string
	}{
		{intent.Set{}.WithTimeliness(intent.TimelinessInteractive), "127.0.0.2"},
		{intent.Set{}.WithCategory(intent.CategoryBulkTransfer), "127.0.0.3"},
	} {
		ctx := intent.NewContext(t.Context(), tt.intents)
		c, err := Dial(ctx, d, "host.test:"+port, &ssh.ClientConfig{User: "user", HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()), Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if _, from, err := c.SendRequest("from", true, nil); err != nil || string(from) != tt.want {
			t.Errorf("%v: from %s (%v), want %s", tt.intents, from, err, tt.want)
		}
		_ = c.Close()
	}
}

// The time limit also covers the handshake with a server that sends nothing.
func TestDialTimesOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = Dial(t.Context(), &client.Dialer{Daemon: manager(t)}, l.Addr().String(), &ssh.ClientConfig{
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 100 * time.Millisecond,
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want a time-out", err)
	}
}

// serve answers each request with the network that the client came from.
func serve(nc net.Conn, config *ssh.ServerConfig) {
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		_ = nc.Close()
		return
	}
	defer func() { _ = conn.Close() }()
	go func() {
		for c := range channels {
			_ = c.Reject(ssh.Prohibited, "")
		}
	}()
	for r := range requests {
		_ = r.Reply(true, []byte(network(conn.RemoteAddr())))
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
