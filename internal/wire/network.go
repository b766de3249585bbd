package wire

import (
	"fmt"
	"net/netip"
	"strings"
)

// Watch says in a request which change of the networks a client waits for, and in an
// answer which state the answer shows.
type Watch struct {
	// Generation identifies a state of the networks. In a request it is the state that
	// the client knows, 0 for none; in an answer it is the state that the answer shows.
	// Generations can only be compared for equality.
	Generation uint64
	// Milliseconds, in a request, is the time after which new figures count as a
	// change, 0 for never.
	Milliseconds uint32
	// Total, in an answer, is the number of all networks. The answer lists only as many
	// as it has room for.
	Total uint32
}

// Network is a network as the daemon knows it. A figure of 0 is unknown, unless its
// comment says otherwise.
type Network struct {
	Index  uint32 // of the interface
	Health uint32 // as in a Path
	Cost   Cost
	Flags  NetworkFlags
	Since  int64 // when Health became so, in milliseconds of the Unix epoch

	RTT, MinRTT, RTTVar uint32 // microseconds
	Loss                uint32 // share of the sent data that was lost, in millionths; 0 with an RTT: no loss
	Down, Up            uint64 // present traffic of the interface, in bytes a second; 0: none
	DownMax, UpMax      uint64 // the highest traffic of the last minutes
	Signal              int32  // dBm
	Utilization         uint32 // of the radio channel, in thousandths; or UnknownUtilization

	Prefix    netip.Prefix // masked
	Interface string
	Name      string // in the configuration; "": none
	Device    string // that a socket must be bound to; "": binding the source address is enough
	Reason    string // the reason of Health, for people; "": none
	Addrs     []netip.Addr
}

// NetworkFlags are the flags of a Network.
type NetworkFlags uint32

// The flags of a Network.
const (
	NetworkDefault NetworkFlags = 1 // it is used unless something speaks for another
	NetworkOffered NetworkFlags = 2 // a connection like the request's may use it
	NetworkRadio   NetworkFlags = 4 // Signal and Utilization are of a wireless link
)

// UnknownUtilization is the Utilization of a channel if nothing is known about it.
const UnknownUtilization = 1<<32 - 1

const (
	watchSize   = 16
	networkSize = 96 // fixed part of a network
	// maxNetworkText bounds each text of a network, maxNetworkAddrs its addresses.
	maxNetworkText  = 255
	maxNetworkAddrs = 16
)

// Bounds shortens n's texts and lists to what a message can hold.
func (n *Network) Bounds() {
	for _, s := range []*string{&n.Interface, &n.Name, &n.Device, &n.Reason} {
		if len(*s) > maxNetworkText {
			*s = strings.ToValidUTF8((*s)[:maxNetworkText], "")
		}
	}
	n.Addrs = n.Addrs[:min(len(n.Addrs), maxNetworkAddrs)]
}

func (e *encoder) watch(w *Watch) {
	e.header(TagWatch, watchSize)
	e.b = le.AppendUint64(e.b, w.Generation)
	e.b = le.AppendUint32(e.b, w.Milliseconds)
	e.b = le.AppendUint32(e.b, w.Total)
}

func (e *encoder) network(n *Network) {
	texts := [...]string{n.Interface, n.Name, n.Device, n.Reason}
	mark := e.open(TagNetwork)
	for _, v := range []uint32{n.Index, n.Health, n.Cost.Cost, uint32(n.Flags)} {
		e.b = le.AppendUint32(e.b, v)
	}
	e.b = le.AppendUint64(e.b, n.Cost.Left)
	e.b = le.AppendUint64(e.b, uint64(n.Since))
	for _, v := range []uint32{n.RTT, n.MinRTT, n.RTTVar, n.Loss} {
		e.b = le.AppendUint32(e.b, v)
	}
	for _, v := range []uint64{n.Down, n.Up, n.DownMax, n.UpMax} {
		e.b = le.AppendUint64(e.b, v)
	}
	e.b = le.AppendUint32(e.b, uint32(n.Signal))
	e.b = le.AppendUint32(e.b, n.Utilization)
	e.b = append(e.b, byte(max(0, n.Prefix.Bits())), byte(len(n.Addrs)))
	for _, s := range texts {
		if len(s) > maxNetworkText {
			e.fail(TagNetwork, errNetwork)
		}
		e.b = append(e.b, byte(len(s)))
	}
	e.b = append(e.b, 0, 0)
	e.rawAddr(TagNetwork, bare(n.Prefix.Addr()))
	for _, s := range texts {
		e.b = append(e.b, s...)
	}
	if len(n.Addrs) > maxNetworkAddrs {
		e.fail(TagNetwork, errNetwork)
	}
	for _, a := range n.Addrs {
		e.rawAddr(TagNetwork, bare(a))
	}
	if !n.Prefix.IsValid() {
		e.fail(TagNetwork, errFamily)
	}
	e.close(mark)
}

// bare returns an address without port and zone. The zone can go because the network
// has an interface.
func bare(a netip.Addr) SockAddr {
	return SockAddr{AddrPort: netip.AddrPortFrom(a.WithZone(""), 0)}
}

func decodeWatch(v []byte) (*Watch, error) {
	if len(v) < watchSize {
		return nil, errLength
	}
	return &Watch{Generation: le.Uint64(v), Milliseconds: le.Uint32(v[8:]), Total: le.Uint32(v[12:])}, nil
}

func decodeNetwork(v []byte, n *Network) error {
	if len(v) < networkSize {
		return errLength
	}
	old := [...]string{n.Interface, n.Name, n.Device, n.Reason}
	*n = Network{
		Index: le.Uint32(v), Health: le.Uint32(v[4:]), Cost: Cost{le.Uint32(v[8:]), le.Uint64(v[16:])}, Flags: NetworkFlags(le.Uint32(v[12:])),
		Since: int64(le.Uint64(v[24:])), RTT: le.Uint32(v[32:]), MinRTT: le.Uint32(v[36:]), RTTVar: le.Uint32(v[40:]), Loss: le.Uint32(v[44:]),
		Down: le.Uint64(v[48:]), Up: le.Uint64(v[56:]), DownMax: le.Uint64(v[64:]), UpMax: le.Uint64(v[72:]),
		Signal: int32(le.Uint32(v[80:])), Utilization: le.Uint32(v[84:]), Addrs: n.Addrs[:0],
	}
	bits, addrs, lengths := int(v[88]), int(v[89]), v[90:94]
	base, rest, err := cutAddr(v[networkSize:])
	if err != nil {
		return err
	}
	if n.Prefix = netip.PrefixFrom(base, bits); !n.Prefix.IsValid() || n.Prefix != n.Prefix.Masked() {
		return errPrefix
	}
	for i, s := range []*string{&n.Interface, &n.Name, &n.Device, &n.Reason} {
		text := int(lengths[i])
		if text > len(rest) {
			return errTruncated
		}
		if *s = old[i]; string(rest[:text]) != old[i] {
			*s = string(rest[:text])
		}
		if strings.IndexByte(*s, 0) >= 0 {
			return errNUL
		}
		rest = rest[text:]
	}
	if addrs > maxNetworkAddrs {
		return errNetwork
	}
	for range addrs {
		var a netip.Addr
		if a, rest, err = cutAddr(rest); err != nil {
			return err
		}
		n.Addrs = append(n.Addrs, a)
	}
	return nil
}

// cutAddr removes an address from the front of v.
func cutAddr(v []byte) (netip.Addr, []byte, error) {
	a, err := decodeSockAddr(v)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	return a.AddrPort.Addr().WithZone(""), v[a.size():], nil
}

func (w *Watch) text() string {
	return fmt.Sprintf("generation %x, %d ms, %d in all", w.Generation, w.Milliseconds, w.Total)
}

func (n *Network) text() string {
	s := fmt.Sprintf("%v on %q, index %d, health %d, cost %d, flags %#x, rtt %d us, loss %d, down %d, up %d", n.Prefix, n.Interface, n.Index, n.Health, n.Cost.Cost, uint32(n.Flags), n.RTT, n.Loss, n.Down, n.Up)
	if n.Name != "" {
		s += fmt.Sprintf(", name %q", n.Name)
	}
	if n.Device != "" {
		s += fmt.Sprintf(", device %q", n.Device)
	}
	if n.Reason != "" {
		s += fmt.Sprintf(", because %q", n.Reason)
	}
	for _, a := range n.Addrs {
		s += " " + a.String()
	}
	return s
}
