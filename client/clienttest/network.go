package clienttest

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// State is whether a Network works.
type State int

// The states of a Network.
const (
	Up      State = 0
	Suspect State = 1
	Down    State = 2
)

// Network is a network as client.Networks and client.Watch tell of it. Figures of zero are
// not known.
type Network struct {
	Interface string
	Index     int // of the interface
	Prefix    netip.Prefix
	Name      string       // that the configuration gives it; may be empty
	Addrs     []netip.Addr // of the host; at most 16
	State     State
	Unusable  bool // the policy does not permit it
	Cost      Cost // Unknown is free
	RTT       time.Duration
}

// SetNetworks makes list what clients hear of networks, the best first: those that ask
// from now on, and those that watch. Until it is called there are none. The prefixes must
// be valid; host bits do not count.
func (m *Manager) SetNetworks(list ...Network) {
	told := make([]wire.Network, len(list))
	for i, n := range list {
		w := &told[i]
		*w = wire.Network{
			Interface: n.Interface, Index: uint32(max(0, n.Index)), Prefix: n.Prefix.Masked(), Name: n.Name, Addrs: n.Addrs, Health: uint32(max(0, n.State)),
			Cost: wire.Cost{Cost: uint32(max(0, n.Cost.Level-Free)), Left: wire.NoBudget}, RTT: uint32(max(0, n.RTT.Microseconds())), Utilization: wire.UnknownUtilization,
		}
		if n.Cost.Budget > 0 {
			w.Cost.Left = uint64(n.Cost.Budget)
		}
		if !n.Unusable {
			w.Flags |= wire.NetworkOffered
		}
		w.Bounds()
	}
	m.raw.SetNetworks(told)
}
