package daemon

import (
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control/metrics"
	"github.com/socket-intents/mamma/internal/scopes"
)

// Metrics add up all scopes. A control group counts once.
func TestScopesTotals(t *testing.T) {
	s := scopes.State{Hooks: []string{"connect4"}, Lost: 9, Scopes: []scopes.ScopeState{
		{Counts: scopes.Counts{Placed: 1, Left: 2, Refused: 3, Failed: 4}, Groups: []string{"/a", "/b"}},
		{Counts: scopes.Counts{Placed: 10, Left: 20, Refused: 30, Failed: 40}, Groups: []string{"/b"}},
	}}
	want := metrics.Scopes{Configured: 2, Groups: 2, Attached: true, Placed: 11, Left: 22, Refused: 33, Unbound: 44, Unseen: 9}
	if got := scopesTotals(&s); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := scopesTotals(&scopes.State{}); got != (metrics.Scopes{}) {
		t.Errorf("nothing attached: %+v", got)
	}
}
