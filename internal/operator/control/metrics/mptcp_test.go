package metrics

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
)

func TestMPTCP(t *testing.T) {
	var fail error
	m := New(func() *mam.View { return &mam.View{} }, nil, nil, "", time.Time{})
	m.AddMPTCP(func() (mptcp.Counters, error) {
		return mptcp.Counters{Opened: 7, NoPeer: 2, JoinsSent: 4, Fallbacks: map[string]uint64{"DssFallback": 1}}, fail
	})
	lines := scrape(t, m)
	for _, want := range []string{
		"mamma_mptcp_connections_opened_total 7\n", "mamma_mptcp_connections_accepted_total 0\n", "mamma_mptcp_peer_without_total 2\n",
		"mamma_mptcp_subflows_requested_total 4\n", "mamma_mptcp_fallbacks_total{reason=\"DssFallback\"} 1\n",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q", want)
		}
	}
	fail = errors.New("no MPTCP")
	if text := strings.Join(scrape(t, m), ""); strings.Contains(text, "mptcp") {
		t.Error(text)
	}
}
