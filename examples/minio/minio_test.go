package minio

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

func TestNew(t *testing.T) {
	from := make(chan string, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		from <- r.Method + " from " + host
		w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
		w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c, transport, err := New(&client.Dialer{Daemon: manager(t)}, "s3.test:"+port, false, credentials.NewStaticV4("key", "secret", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	stat := intent.NewContext(t.Context(), intent.Set{}.WithCategory(intent.CategoryQuery))
	put := intent.NewContext(t.Context(), intent.Set{}.WithCategory(intent.CategoryBulkTransfer))
	for range 2 { // the second time over the same connections
		if _, err := c.PutObject(put, "bucket", "object", strings.NewReader("text"), 4, minio.PutObjectOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := c.StatObject(stat, "bucket", "object", minio.StatObjectOptions{}); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"PUT from 127.0.0.3", "HEAD from 127.0.0.2"} {
			if got := <-from; got != want {
				t.Errorf("%s, want %s", got, want)
			}
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
