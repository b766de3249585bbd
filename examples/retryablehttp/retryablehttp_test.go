package retryablehttp

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
)

// The server is overloaded for clients from the first network. For the second try, the
// manager names another network.
func TestNewClient(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if host == "127.0.0.2" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, host)
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	var decisions atomic.Int32
	m := clienttest.Start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2"), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
		if r.Kind != clienttest.Resolve && decisions.Add(1) > 1 {
			a.Source = netip.MustParseAddr("127.0.0.3")
		}
		return a
	})
	daemon := &client.Daemon{Path: m.Path, DecisionTimeout: 10 * time.Second}
	defer func() { _ = daemon.Close() }()
	c, transport := NewClient(&client.Dialer{Daemon: daemon})
	defer transport.CloseIdleConnections()
	c.Logger = nil
	c.RetryWaitMin, c.RetryWaitMax = time.Millisecond, time.Millisecond
	resp, err := c.Get("http://web.test:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "127.0.0.3" || decisions.Load() != 2 {
		t.Errorf("from %s (%v), %d decisions; want the second try from 127.0.0.3", body, err, decisions.Load())
	}
}
