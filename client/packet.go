package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// PacketConn is a datagram socket on a network that the manager chose. It has all methods
// of a net.UDPConn, with SyscallConn, ReadMsgUDP and WriteMsgUDP, so that QUIC
// implementations use segmentation offload and ECN on it. It is safe for concurrent use.
//
// A datagram that cannot be sent because the network is gone counts as lost: the write
// returns no error, and Path tells. Protocols over datagrams cope with loss, but many give
// up after an error.
type PacketConn struct {
	*net.UDPConn
	dialed

	dialer    *Dialer
	own       bool   // dialer was made for this socket
	network   string // udp, udp4 or udp6
	intents   intent.Set
	selection SelectionProperties
	host      string // of the destination, as the program gave it
	remote    netip.AddrPort
	index     int           // of the interface; 0: not known
	features  wire.Features // of the manager that decided
	device    string        // name of the interface; "": not known

	lost    atomic.Uint64
	failing atomic.Pointer[error] // of the latest write; nil: it succeeded

	cancel  context.CancelFunc
	watcher sync.WaitGroup
	failed  chan struct{} // one slot: a write has failed, or succeeded again
	start   sync.Once
	mu      sync.Mutex
	told    []Network // by the manager; nil: nothing
	changes chan Path
	closed  bool
}

// Path is how the network of a PacketConn is doing.
type Path struct {
	// State is NetworkDown if the address or the interface of the socket is gone, or if
	// the manager says so; NetworkSuspect if the manager says so, or if the latest datagram
	// could not be sent.
	State NetworkState
	Err   error // the reason for State; nil while it is up
	// Network is what the manager knows of the network; the zero value if nothing.
	Network Network
	// Best is the network that the manager would use now for a connection with these
	// intents. Better tells that it is another one than that of the socket.
	Best   Network
	Better bool
	Lost   uint64 // datagrams that could not be sent so far
}

// Errors of a Path. Others are what the kernel said about sending.
var (
	errAddressGone = errors.New("the address of the socket is gone")
	errLinkDown    = errors.New("the interface of the socket is down")
)

// ListenPacket opens a socket with the zero Dialer; see Dialer.ListenPacket. If there are
// several sets of intents, the first that says something counts.
func ListenPacket(ctx context.Context, network, address string, intents ...intent.Set) (*PacketConn, error) {
	d := &Dialer{}
	for _, s := range intents {
		d.Intents = d.Intents.Merge(s)
	}
	c, err := d.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	c.own = true
	return c, nil
}

// ListenPacket opens a datagram socket on the network that the manager chooses for
// datagrams to address, whose forms are those of DialContext; with "" for datagrams to
// anywhere. The network is "udp", "udp4" or "udp6". The socket is not connected. Its Remote
// is an address of the host that can be reached from it.
//
// If the first choice cannot be used, the alternates follow. The socket is bound to the
// interface of its network if this process may do so, since otherwise datagrams could
// leave over another network when the route of this one is gone. Net.LocalAddr is used
// if it is set.
//
// Without a manager the socket is a plain one, unless the SelectionProperties forbid it.
func (d *Dialer) ListenPacket(ctx context.Context, network, address string) (*PacketConn, error) {
	begun := time.Now()
	if typ, _, ok := kindOf(network); !ok || typ != wire.SockDgram {
		return nil, net.UnknownNetworkError(network)
	}
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	places, info, f, err := d.places(ctx, network, address)
	if err != nil {
		return nil, err
	}
	for i, p := range places {
		var uc *net.UDPConn
		if uc, err = d.listen(ctx, network, p.Endpoint); err != nil {
			info.Attempts = append(info.Attempts, Attempt{Source: p.Source, Device: deviceIn(p.Options), Remote: p.Remote, Err: err, Candidate: p.index})
			if ctx.Err() != nil || i == len(places)-1 {
				break
			}
			continue
		}
		info.Duration, info.Source, info.Device, info.Candidate = time.Since(begun), p.Source, deviceIn(p.Options), p.index
		c := d.newPacketConn(ctx, uc, network, p.Endpoint, info)
		c.features = f
		c.host, _, _ = net.SplitHostPort(address) // it is "" if that fails, as for anywhere
		return c, nil
	}
	return nil, &DialError{Network: network, Address: address, Attempts: info.Attempts, Err: ctx.Err()}
}

// places are the ways to open the socket, the best first.
func (d *Dialer) places(ctx context.Context, network, address string) ([]packetPlace, Info, wire.Features, error) {
	if address == "" {
		return d.anywhere(ctx, network)
	}
	dec, err := d.Decide(ctx, network, address)
	if err != nil {
		return nil, Info{}, 0, err
	}
	list, err := dec.Endpoints(ctx)
	info := Info{Decided: dec.Err() == nil, Err: dec.Err(), Reason: dec.Reason()}
	f := wire.Features(0)
	if dec.plan != nil {
		info.ID, f = DecisionID(dec.plan.id), dec.plan.features
	}
	// One address of each network is enough: the socket is not connected to it.
	seen := map[netip.Addr]bool{}
	list = slices.DeleteFunc(list, func(e Endpoint) bool {
		again := seen[e.Source] && e.Source.IsValid()
		seen[e.Source] = true
		return again
	})
	places := make([]packetPlace, len(list))
	for i, e := range list {
		places[i] = packetPlace{e, dec.indexOf(e)}
	}
	return places, info, f, err
}

// packetPlace is a way to open a datagram socket, and whose suggestion it is.
type packetPlace struct {
	Endpoint
	index Candidate
}

// indexOf is which of the manager's suggestions e comes from.
func (dec *Decision) indexOf(e Endpoint) Candidate {
	if dec.plan != nil && (e.Source.IsValid() || deviceIn(e.Options) != "") {
		for _, c := range dec.plan.candidates {
			if c.local == e.Source {
				return c.index
			}
		}
	}
	return plain
}

// anywhere is places for datagrams to anywhere.
func (d *Dialer) anywhere(ctx context.Context, network string) ([]packetPlace, Info, wire.Features, error) {
	t := target{network: network, selection: d.selection(ctx), intents: intent.FromContext(ctx).Merge(d.Intents)}
	t.typ, t.family, _ = kindOf(network)
	if err := t.selection.check(); err != nil {
		return nil, Info{}, 0, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	p, err := d.daemon().decide(ctx, t, false, nil)
	info := Info{Decided: err == nil, Err: err}
	if err != nil {
		d.without(err)
		if forbidden(err) || !t.plainly() {
			return nil, info, 0, &DialError{Network: network, Err: t.permits(site{}), Without: err}
		}
		return []packetPlace{{index: plain}}, info, 0, nil
	}
	info.ID, info.Reason = DecisionID(p.id), p.reason
	var list []packetPlace
	for _, c := range p.candidates {
		if !c.local.IsValid() && c.device == "" {
			continue
		}
		options := c.options
		if p.target.strict() {
			at := p.target.siteOf(c, netip.Addr{})
			if p.target.permits(at) != nil {
				continue
			}
			options = c.held(at.device, netip.Addr{})
		}
		list = append(list, packetPlace{endpoint(c, netip.AddrPort{}, options), c.index})
	}
	if p.target.plainly() {
		list = append(list, packetPlace{index: plain})
	}
	if len(list) == 0 {
		return nil, info, 0, &DialError{Network: network, Err: p.target.permits(site{})}
	}
	return list, info, p.features, nil
}

// listen opens a socket at a place.
func (d *Dialer) listen(ctx context.Context, network string, e Endpoint) (*net.UDPConn, error) {
	if e.Remote.IsValid() || e.Source.IsValid() {
		network = "udp6"
		if e.Remote.Addr().Is4() || e.Source.Is4() {
			network = "udp4"
		}
	}
	local := ":0"
	switch bound := addrPort(d.Net.LocalAddr); {
	case bound.IsValid():
		local = bound.String()
	case e.Source.IsValid():
		local = netip.AddrPortFrom(e.Source, 0).String()
	}
	lc := net.ListenConfig{Control: func(network, address string, raw syscall.RawConn) error {
		if err := e.Control(network, address, raw); err != nil {
			return err
		}
		if d.Net.Control != nil {
			return d.Net.Control(network, address, raw)
		}
		return nil
	}}
	pc, err := lc.ListenPacket(ctx, network, local)
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// deviceIn is the interface among the options of a socket; "" if there is none.
func deviceIn(options []SocketOption) string {
	for _, o := range options {
		if o.Level == wire.SolSocket && o.Name == wire.SoBindToDevice {
			return string(trimNUL(o.Value))
		}
	}
	return ""
}

func trimNUL(b []byte) []byte {
	if i := slices.Index(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

func (d *Dialer) newPacketConn(ctx context.Context, uc *net.UDPConn, network string, e Endpoint, info Info) *PacketConn {
	local := addrPort(uc.LocalAddr())
	info.Local, info.Remote = local, e.Remote
	c := &PacketConn{
		UDPConn: uc, dialed: dialed{info}, dialer: d, network: network, remote: e.Remote,
		intents: intent.FromContext(ctx).Merge(d.Intents), selection: d.selection(ctx),
		failed: make(chan struct{}, 1), cancel: func() {},
	}
	at := siteOf(info.Device, local.Addr(), e.Remote.Addr())
	if at.device == "" {
		return c
	}
	c.device = at.device
	if i, err := net.InterfaceByName(at.device); err == nil {
		c.index = i.Index
	}
	if info.Device == "" && !at.loopback {
		_ = bindToDevice(uc, at.device) // without the right to do so the address has to do
	}
	return c
}

// Info tells how the socket came about, as InfoOf does of a connection.
func (c *PacketConn) Info() Info { return c.info }

// Remote is the address of the destination that can be reached from the socket; invalid if
// the socket is for datagrams to anywhere.
func (c *PacketConn) Remote() netip.AddrPort { return c.remote }

// Interface is the name of the interface of the socket's network, "" if it is not known. It
// is the present name; the last one that is known if the interface is gone.
func (c *PacketConn) Interface() string {
	if c.index == 0 {
		return c.device
	}
	i, err := net.InterfaceByIndex(c.index)
	if err != nil {
		return c.device
	}
	return i.Name
}

// sent notes how a write went. Errors of a network that is gone count as loss, and sent
// returns nil for them.
func (c *PacketConn) sent(err error) error {
	if err == nil {
		if c.failing.Load() != nil {
			c.failing.Store(nil)
			c.notice()
		}
		return nil
	}
	if !c.meansLoss(err) {
		return err
	}
	c.lost.Add(1)
	if c.failing.Swap(&err) == nil {
		c.notice()
	}
	return nil
}

// meansLoss tells whether a write failed because of the network, rather than because of
// what was written.
func (c *PacketConn) meansLoss(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false
	}
	switch errno {
	case syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENODEV, syscall.ENXIO, syscall.EADDRNOTAVAIL, syscall.EPERM,
		syscall.ENOBUFS, syscall.ECONNREFUSED:
		return true
	case syscall.EINVAL: // of the kernel if the source address is gone, and for nonsense
		return errors.Is(c.checkLocal(), errAddressGone)
	}
	return false
}

func (c *PacketConn) notice() {
	select {
	case c.failed <- struct{}{}:
	default:
	}
}

// WriteTo works as that of a net.UDPConn, but hides errors of a network that is gone.
func (c *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.UDPConn.WriteTo(b, to)
	return c.wrote(n, len(b), err)
}

// WriteToUDP works as that of a net.UDPConn, but hides errors of a network that is gone.
func (c *PacketConn) WriteToUDP(b []byte, to *net.UDPAddr) (int, error) {
	n, err := c.UDPConn.WriteToUDP(b, to)
	return c.wrote(n, len(b), err)
}

// WriteToUDPAddrPort works as that of a net.UDPConn, but hides errors of a network that is gone.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n, err := c.UDPConn.WriteToUDPAddrPort(b, to)
	return c.wrote(n, len(b), err)
}

// WriteMsgUDP works as that of a net.UDPConn, but hides errors of a network that is gone.
func (c *PacketConn) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = c.UDPConn.WriteMsgUDP(b, oob, to)
	if err = c.sent(err); err == nil {
		n, oobn = len(b), len(oob)
	}
	return n, oobn, err
}

// WriteMsgUDPAddrPort works as that of a net.UDPConn, but hides errors of a network that is gone.
func (c *PacketConn) WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error) {
	n, oobn, err = c.UDPConn.WriteMsgUDPAddrPort(b, oob, to)
	if err = c.sent(err); err == nil {
		n, oobn = len(b), len(oob)
	}
	return n, oobn, err
}

func (c *PacketConn) wrote(n, all int, err error) (int, error) {
	if err = c.sent(err); err == nil {
		n = all
	}
	return n, err
}

// checkLocal looks whether the host still has the socket's address, and whether the
// interface is up.
func (c *PacketConn) checkLocal() error {
	local := addrPort(c.LocalAddr()).Addr().WithZone("")
	if c.device == "" {
		return nil
	}
	// The name may have gone to another interface, and the interface may have another name.
	i, err := net.InterfaceByIndex(c.index)
	if err != nil {
		return errAddressGone
	}
	if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 && i.Flags&net.FlagLoopback == 0 {
		return errLinkDown
	}
	if !local.IsValid() || local.IsUnspecified() || local.IsLoopback() {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	if !slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == local
	}) {
		return errAddressGone
	}
	return nil
}

// Path tells how the network of the socket is doing. Before the first call of Changes it
// knows nothing from the manager.
func (c *PacketConn) Path() Path {
	c.mu.Lock()
	told := c.told
	c.mu.Unlock()
	return c.path(told)
}

func (c *PacketConn) path(told []Network) Path {
	p := Path{Lost: c.lost.Load()}
	local := addrPort(c.LocalAddr()).Addr()
	ours := -1
	for i := range told {
		n := &told[i]
		if c.on(n) && (local.IsUnspecified() || n.Prefix.Contains(local)) {
			ours, p.Network = i, *n
			break
		}
	}
	if len(told) > 0 && told[0].Usable {
		p.Best = told[0]
		p.Better = c.device != "" && !c.on(&told[0])
	}
	failing := c.failing.Load()
	switch err := c.checkLocal(); {
	case err != nil:
		p.State, p.Err = NetworkDown, err
	case ours >= 0 && p.Network.State != NetworkUp:
		p.State, p.Err = p.Network.State, fmt.Errorf("the manager says: %s", p.Network.Reason)
	case failing != nil:
		p.State, p.Err = NetworkSuspect, *failing
	}
	return p
}

// on tells whether a network is on the interface of the socket, whose name may have changed.
func (c *PacketConn) on(n *Network) bool {
	if c.index != 0 && n.Index != 0 {
		return n.Index == c.index
	}
	return c.device != "" && n.Interface == c.device
}

// same tells whether nothing is different that a reader of Changes wants to hear of.
func (p *Path) same(q *Path) bool {
	return p.State == q.State && p.Better == q.Better && p.Best.Interface == q.Best.Interface && p.Best.Prefix == q.Best.Prefix && p.Best.Cost == q.Best.Cost && p.Network.Cost == q.Network.Cost
}

// SetSelection sets the SelectionProperties by which Best and Better of a Path are
// found. Without it they are those that the socket was opened with. A program needs it
// if it has opened this socket with a requirement or a prohibition only to get off the
// network of an earlier socket: no Path would tell otherwise that the earlier network
// has become better. SetSelection must be called before Changes, if at all.
func (c *PacketConn) SetSelection(p SelectionProperties) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selection = p
}

// Changes returns a channel that has the Path at once, and again when State, Better,
// the best network or a cost has changed. The changes come from the manager, from the
// kernel's word on the interface and the address of the socket, and from the success of
// sending. The channel holds the latest Path only. It is always the same one, and is
// closed by Close.
func (c *PacketConn) Changes() <-chan Path {
	c.start.Do(c.watch)
	return c.changes
}

func (c *PacketConn) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = make(chan Path, 1)
	if c.closed {
		close(c.changes)
		return
	}
	ctx, cancel := context.WithCancel(WithSelection(context.Background(), c.selection))
	c.cancel = cancel
	d := &Dialer{Intents: c.intents, Daemon: c.dialer.daemon()}
	told := make(chan []Network, 1)
	network := c.network
	switch local := addrPort(c.LocalAddr()).Addr(); { // other networks are no better to this socket
	case local.Unmap().Is4() && !local.IsUnspecified():
		network = "udp4"
	case local.Is6() && !local.IsUnspecified():
		network = "udp6"
	}
	c.watcher.Go(func() {
		for list, err := range d.watch(ctx, network, 0, destination{c.host, c.remote}) {
			if err != nil {
				list = nil
			}
			latest(told, list)
		}
	})
	kernel := watchAddresses(ctx, &c.watcher)
	c.watcher.Go(func() {
		defer close(c.changes)
		var last *Path
		for {
			select {
			case list := <-told:
				c.mu.Lock()
				c.told = list
				c.mu.Unlock()
			case <-kernel:
				// A network that failed a moment ago may work now. If it does not, the
				// next write says so.
				if c.checkLocal() == nil {
					c.failing.Store(nil)
				}
			case <-c.failed:
			case <-ctx.Done():
				return
			}
			if p := c.Path(); last == nil || !p.same(last) {
				last = &p
				latest(c.changes, p)
			}
		}
	})
	c.notice() // there is a first one
}

// latest puts v into ch, whose one slot has the latest value only. There is one sender.
func latest[T any](ch chan T, v T) {
	for {
		select {
		case ch <- v:
			return
		default:
		}
		select {
		case <-ch:
		default:
		}
	}
}

// Close closes the socket, and the channel of Changes.
func (c *PacketConn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	cancel := c.cancel
	c.mu.Unlock()
	err := c.UDPConn.Close()
	if again {
		return err
	}
	cancel()
	c.watcher.Wait()
	if c.own {
		err = errors.Join(err, c.dialer.Close())
	}
	return err
}
