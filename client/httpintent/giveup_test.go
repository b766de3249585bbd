package httpintent

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
)

// If a request is cancelled, the connection to an original daemon stays open until the
// daemon has answered.
func TestNoConnectionIsClosedBeforeItsAnswer(t *testing.T) {
	s := rawmanager.StartSlow(t)
	daemon := &client.Daemon{Path: s.Path, DecisionTimeout: 5 * time.Second}
	tr := &Transport{Dialer: &client.Dialer{Daemon: daemon}}
	s.GiveUp(t, func(ctx context.Context) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:1/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := tr.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
			t.Error("answered in spite of its context")
		}
	})
	tr.CloseIdleConnections()
	_ = daemon.Close()
}
