package daemon

import (
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/reset"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// resettable converts the managed prefixes to the form that package reset needs. prefixes
// has the same ones, with their health. Those that are down only because users say so are
// not down here, because no user may end the connections of others.
func resettable(list []managed, prefixes []*policy.Prefix, claimed map[policy.PrefixID]bool, nets *netmon.Snapshot) []reset.Network {
	out := make([]reset.Network, len(list))
	for i := range list {
		p := prefixes[i]
		n := nets.PrefixOn(p.Index, p.CIDR)
		out[i] = reset.Network{
			ID: p.ID, Index: p.Index, Addrs: p.Addrs,
			Reset: list[i].settings.OnDown == config.OnDownReset, Down: p.Health.State == policy.Down && !claimed[p.ID],
			Carrier: n != nil && n.Running, Far: list[i].extent == mam.Everywhere,
		}
	}
	return out
}
