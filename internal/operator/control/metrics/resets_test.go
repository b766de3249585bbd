package metrics

import (
	"slices"
	"testing"
	"time"

	"github.com/socket-intents/mamma/mam"
)

func TestResets(t *testing.T) {
	m := New(func() *mam.View { return &mam.View{} }, nil, nil, "", time.Time{})
	m.AddResets(func() uint64 { return 7 })
	if lines := scrape(t, m); !slices.Contains(lines, "mamma_connections_reset_total 7\n") {
		t.Errorf("%q", lines)
	}
}
