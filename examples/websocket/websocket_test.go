package websocket

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

func TestDial(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		_ = c.Write(r.Context(), websocket.MessageText, []byte(host))
		_ = c.Close(websocket.StatusNormalClosure, "")
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	d := &client.Dialer{Daemon: manager(t)}
	for _, tt := range []struct {
		intents intent.Set
		want    string
	}{
		{intent.Set{}.WithTimeliness(intent.TimelinessInteractive), "127.0.0.2"},
		{intent.Set{}.WithCategory(intent.CategoryBulkTransfer), "127.0.0.3"},
	} {
		ctx := intent.NewContext(t.Context(), tt.intents)
		c, err := Dial(ctx, d, "ws://chat.test:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != tt.want {
			t.Errorf("%v: from %s (%v), want %s", tt.intents, got, err, tt.want)
		}
		_ = c.CloseNow()
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
