package metrics

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/mam"
)

func TestScopes(t *testing.T) {
	there := true
	m := New(func() *mam.View { return &mam.View{} }, nil, nil, "", time.Time{})
	m.AddScopes(func() (Scopes, bool) {
		return Scopes{Configured: 2, Groups: 3, Attached: true, Placed: 7, Left: 5, Refused: 4, Unbound: 1, Unseen: 9}, there
	})
	lines := scrape(t, m)
	for _, want := range []string{
		"mamma_scopes 2\n", "mamma_scope_groups 3\n", "mamma_scopes_attached 1\n", "mamma_scope_connections_total{result=\"placed\"} 7\n",
		"mamma_scope_connections_total{result=\"left\"} 5\n", "mamma_scope_connections_total{result=\"refused\"} 4\n",
		"mamma_scope_unbound_total 1\n", "mamma_scope_unseen_total 9\n",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q", want)
		}
	}
	there = false
	if text := strings.Join(scrape(t, m), ""); strings.Contains(text, "scope") {
		t.Error(text)
	}
}
