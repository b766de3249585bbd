package daemon

import (
	"net/netip"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/policy"
)

// Connections end where mamma or the kernel has seen that a network is down, and not
// because users say so.
func TestClaimedIsNotReset(t *testing.T) {
	id := policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("192.168.0.0/24")}
	list := []managed{{settings: config.PrefixSettings{OnDown: config.OnDownReset}}}
	for _, tt := range []struct {
		state   policy.HealthState
		claimed bool
		down    bool
	}{
		{policy.Up, false, false}, {policy.Suspect, false, false}, {policy.Down, false, true}, {policy.Down, true, false},
	} {
		p := &policy.Prefix{ID: id, Index: 2, CIDR: id.Prefix, Health: policy.Health{State: tt.state}}
		got := resettable(list, []*policy.Prefix{p}, map[policy.PrefixID]bool{id: tt.claimed}, netmon.NewSnapshot(laptop()))
		if len(got) != 1 || !got[0].Reset || got[0].Down != tt.down || !got[0].Carrier {
			t.Errorf("%v, claimed %v: %+v", tt.state, tt.claimed, got)
		}
	}
}
