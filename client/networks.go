package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// NetworkState tells whether a network can be expected to work.
type NetworkState uint8

// The states of a Network.
const (
	NetworkUp      NetworkState = 0
	NetworkSuspect NetworkState = 1 // something speaks against it
	NetworkDown    NetworkState = 2 // used only if nothing else is left
)

// String gives the word that mammactl shows: "up", "suspect" or "down".
func (s NetworkState) String() string {
	switch s {
	case NetworkUp:
		return "up"
	case NetworkSuspect:
		return "suspect"
	}
	return "down"
}

// Network is one of the host's networks as the manager knows it: a prefix on an
// interface. A network with IPv4 and IPv6 is two of them. Figures of zero are not
// known, but where something else is said.
type Network struct {
	Interface string
	Index     int          // of the interface
	Prefix    netip.Prefix // of the addresses
	Name      string       // that the manager's configuration gives it; may be empty
	Addrs     []netip.Addr // of this host, the one to bind to first
	// Device is the interface that a socket must be bound to so that its packets take
	// this network; empty if the source address is enough.
	Device string

	State  NetworkState
	Reason string    // for State, for people; empty while up
	Since  time.Time // that State is so; zero if it was never different

	// Usable tells that a connection as asked about may use it: the policy and the
	// SelectionProperties permit it, and it is not down while another one works.
	Usable  bool
	Default bool // it is used where nothing speaks for another

	Cost Cost
	// Limited tells that its traffic is limited, and Left how many bytes are left.
	Limited bool
	Left    int64

	// RTT is the median of the round-trip times that TCP measures on it, and MinRTT the
	// least of the last ten minutes. RTTVar is how much the round-trip times vary. Loss
	// is the share of sent segments that are lost, from 0 to 1; it is known if RTT is.
	RTT, MinRTT, RTTVar time.Duration
	Loss                float64

	// Down and Up are what all programs together receive and send over the interface, in
	// bytes a second; MaxDown and MaxUp the most of it in the last ten minutes.
	Down, Up, MaxDown, MaxUp uint64

	// Wireless tells that there are figures of a Wi-Fi link: Signal in dBm, and
	// ChannelUse, which part of the time its channel is busy, from 0 to 1, negative
	// if that is not known.
	Wireless   bool
	Signal     int
	ChannelUse float64
}

// String gives prefix and interface, as mammactl does, and the state.
func (n Network) String() string {
	return fmt.Sprintf("%v%%%s %v", n.Prefix, n.Interface, n.State)
}

// Networks returns the host's networks with the zero Dialer; see Dialer.Networks.
func Networks(ctx context.Context) ([]Network, error) {
	var d Dialer
	list, err := d.Networks(ctx, "tcp")
	return list, errors.Join(err, d.Close())
}

// Networks returns the host's networks. Those that a connection over network ("tcp",
// "udp", also with 4 or 6) with the intents and SelectionProperties of ctx and the Dialer
// may use come first, in the order in which the manager's policy would use them; no
// decision is made. Of more than about a hundred the last ones are left out.
//
// It returns an error that wraps errors.ErrUnsupported if the manager is one that does not
// tell of networks, such as the daemon of the Socket Intents prototype. If there is no
// manager, errors.Is finds fs.ErrNotExist.
func (d *Dialer) Networks(ctx context.Context, network string) ([]Network, error) {
	w, err := d.newWatcher(ctx, network, 0)
	if err != nil {
		return nil, err
	}
	var ans wire.Message
	from, err := w.daemon.ask(ctx, question{intents: w.intents, request: w.request}, &ans)
	if err != nil {
		return nil, err
	}
	return networksIn(from.features, &ans)
}

var errNoNetworks = fmt.Errorf("the manager does not tell of networks: %w", errors.ErrUnsupported)

// networksIn reads an answer to a request for the networks.
func networksIn(f wire.Features, ans *wire.Message) ([]Network, error) {
	switch {
	case f&wire.FeatureNetworks == 0:
		return nil, errNoNetworks
	case ans.Action != wire.ActionNetworksResponse || ans.Watch == nil:
		return nil, fmt.Errorf("unexpected answer %v", ans.Action)
	}
	list := make([]Network, len(ans.Networks))
	for i := range list {
		list[i] = newNetwork(&ans.Networks[i])
	}
	return list, nil
}

func newNetwork(w *wire.Network) Network {
	us := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
	n := Network{
		Interface: w.Interface, Index: int(w.Index), Prefix: w.Prefix, Name: w.Name, Addrs: slices.Clone(w.Addrs), Device: w.Device,
		State: NetworkState(min(w.Health, uint32(NetworkDown))), Reason: w.Reason,
		Usable: w.Flags&wire.NetworkOffered != 0, Default: w.Flags&wire.NetworkDefault != 0,
		Cost: Cost(min(w.Cost.Cost, uint32(CostExpensive))),
		RTT:  us(w.RTT), MinRTT: us(w.MinRTT), RTTVar: us(w.RTTVar), Loss: float64(min(w.Loss, 1e6)) / 1e6,
		Down: w.Down, Up: w.Up, MaxDown: w.DownMax, MaxUp: w.UpMax,
	}
	if w.Since != 0 {
		n.Since = time.UnixMilli(w.Since)
	}
	if w.Cost.Left != wire.NoBudget {
		n.Limited, n.Left = true, int64(min(w.Cost.Left, math.MaxInt64))
	}
	if w.Flags&wire.NetworkRadio != 0 {
		n.Wireless, n.Signal, n.ChannelUse = true, int(w.Signal), -1
		if w.Utilization != wire.UnknownUtilization {
			n.ChannelUse = float64(min(w.Utilization, 1000)) / 1000
		}
	}
	return n
}

// watcher asks for the networks, again and again.
type watcher struct {
	daemon    *Daemon
	typ       int32
	family    int32
	intents   intent.Set
	selection SelectionProperties
	origin    *wire.Origin
	every     time.Duration
	to        destination

	known uint64 // generation that was told last; 0: none
	link  *link  // on which it was; nil: none
}

// destination is where the datagrams of a socket go. The zero value is anywhere.
type destination struct {
	host   string         // as the program gave it
	remote netip.AddrPort // an address of it
}

func (d *Dialer) newWatcher(ctx context.Context, network string, every time.Duration) (*watcher, error) {
	typ, family, ok := kindOf(network)
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	w := &watcher{
		daemon: d.daemon(), typ: typ, family: family, every: max(0, every),
		intents: intent.FromContext(ctx).Merge(d.Intents), selection: d.selection(ctx), origin: originOf(ctx),
	}
	return w, w.selection.check()
}

// request is the next request to a manager with the features f. To one that does not
// know it, it is a greeting.
func (w *watcher) request(f wire.Features) *wire.Message {
	if f&wire.FeatureNetworks == 0 {
		return &wire.Message{Action: wire.ActionErrorUnknownRequest}
	}
	m := &wire.Message{
		Action: wire.ActionNetworksRequest, Origin: w.origin, Selection: w.selection.onWire(),
		Context: wire.Context{Domain: w.family, Type: w.typ, Hint: []wire.AddrInfo{{Family: w.family, Type: w.typ}}},
		Watch:   &wire.Watch{Generation: w.known, Milliseconds: uint32(min(w.every.Milliseconds(), math.MaxUint32))},
	}
	if w.to.remote.IsValid() {
		m.Context.Hostname, m.Context.Service = w.to.host, strconv.Itoa(int(w.to.remote.Port()))
		m.Context.Remote = sockAddr(w.to.remote)
	}
	m.SetIntents(w.intents)
	return m
}
