package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// udpReopenEvery is the least time between two new sockets that replace one whose
	// sending failed. Each new socket costs a question to the manager.
	udpReopenEvery = time.Second
	// udpBatch is the number of the client's datagrams for which the rules are asked
	// once, if so many are there already and fit into one buffer.
	udpBatch = 8
	// udpOwnerFor is how long an answer of the rules about the client's port holds for
	// datagrams to the client. Some programs get hundreds of datagrams in that time.
	udpOwnerFor = 10 * time.Millisecond

	// A network that has died beyond the first hop takes datagrams without an error:
	// only the lack of answers shows it. ListenPacket is called for another network
	// when nothing has come for defaultUDPSilence since something was sent. If still
	// nothing comes, ListenPacket is called again, each time after twice as long, up to
	// maxUDPSilence. Few answers take longer than a second.
	defaultUDPSilence = time.Second
	maxUDPSilence     = 2 * time.Minute

	// If answers came before, silence is noticed earlier: after three times as long as the
	// slowest of the latest answers took, but at least leastUDPSilence, and if as many
	// datagrams as unansweredToNotice got no answer. A client of a resolver that waits for
	// one slow name sends fewer.
	leastUDPSilence    = 300 * time.Millisecond
	silentRoundTrips   = 3
	unansweredToNotice = 3

	// associationExtra is how many descriptors an association takes beyond two: one
	// towards the client, and one towards each family's destinations.
	associationExtra = 2
)

var errAssociations = errors.New("too many associations")

// associate serves UDP ASSOCIATE. The association lives as long as the client's
// connection.
func (ss *Session) associate(reply replier) {
	c := ss.c
	if c.cfg.DisableUDP {
		ss.refuse(&Error{Reply: CommandNotSupported, Err: fmt.Errorf("%v is switched off", CommandUDPAssociate)}, reply)
		return
	}
	ctx, cancel := context.WithCancel(ss.context(ss.s.ctx))
	defer cancel()
	if err := ss.allow(ctx); err != nil {
		ss.refuse(err, reply)
		return
	}
	if !ss.s.takeFiles(associationExtra, c.cfg) {
		ss.refuse(errAssociations, reply)
		return
	}
	defer ss.s.giveFiles(associationExtra)
	pc, err := ss.listenForClient(ctx)
	if err != nil {
		ss.refuse(err, reply)
		return
	}
	a := &association{ss: ss, ctx: ctx, cancel: cancel, inside: pc, outside: map[bool]net.PacketConn{}, announced: ss.announcedPort()}
	a.bound = addrPort(pc.LocalAddr())
	ss.SetUp = time.Since(ss.Begun)
	c.cfg.Hooks.Established(ss)
	if err = reply(c, Succeeded, a.bound, nil); err == nil {
		err = a.run()
	} else {
		_ = pc.Close()
	}
	_ = c.Close()
	c.cfg.Hooks.Ended(ss, err)
}

// listenForClient opens the socket that the client sends to. The socket has the
// address at which the client reached the proxy, with the zone if that is link-local.
func (ss *Session) listenForClient(ctx context.Context) (*net.UDPConn, error) {
	c := ss.c
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if ap, ok := c.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		local = ap.AddrPort().Addr().Unmap()
	} else if _, ok := c.cfg.Rules.(SenderRules); !ok {
		return nil, &Error{Reply: CommandNotSupported, Err: errors.New("a client without an address cannot have an association: nothing tells which datagrams are its own")}
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// announcedPort returns the port that the client says it will send from; 0 if any
// port will do. Some clients announce the address that they will send to instead. On
// this host the two cannot be told apart, as both have the same address: there the
// announcement is ignored, and SenderRules say which datagrams are the client's.
func (ss *Session) announcedPort() uint16 {
	r := ss.Request
	ip := r.Dest.IP()
	if _, ok := ss.c.cfg.Rules.(SenderRules); ok && r.Loopback() || ip != r.Client.Addr() && !ip.IsUnspecified() {
		return 0
	}
	return r.Dest.Port
}

// association is a running UDP association.
type association struct {
	ss     *Session
	ctx    context.Context // ends with run
	cancel context.CancelFunc
	inside *net.UDPConn   // the socket towards the client
	bound  netip.AddrPort // the address of inside
	// client is the address that the client's first datagram came from. Datagrams are
	// taken from this address only, and sent to it. It may have a zone.
	client    atomic.Pointer[netip.AddrPort]
	datagrams atomic.Int64 // number of datagrams in both directions
	// asked is the time of the oldest datagram that was sent after the latest answer,
	// as a time.Duration since the request; 0 if an answer has come since.
	asked atomic.Int64
	// unanswered counts the datagrams that were sent since asked, the first included.
	unanswered atomic.Int64
	// slowest is how long the latest answers took at most, as a time.Duration; 0 if
	// there was none. One slow answer is forgotten after a while.
	slowest atomic.Int64
	readers sync.WaitGroup // all goroutines of the association but that of run

	// Only fromClient's goroutine uses these.
	announced uint16 // see announcedPort

	asking  sync.Mutex // held while the rules are asked whose a port is; guards the next three
	checked time.Time  // when they last were about client
	foreign bool       // client was not the client's then
	warned  bool       // foreign datagrams were logged once, which is enough

	sending sync.Mutex    // held while datagrams are sent; guards the next two
	moved   time.Time     // when a socket was last replaced because sending failed
	silence time.Duration // how long after asked the next network is taken

	mu      sync.Mutex              // guards the fields below
	outside map[bool]net.PacketConn // the sockets towards destinations: true for IPv4, false for IPv6
	names   udpNames
	peers   udpPeers
	closed  bool // no socket may be added to outside any more
}

// run moves datagrams until the client's connection ends (RFC 1928 section 7), or
// until no datagram has come from either side for UDPIdle.
func (a *association) run() error {
	c := a.ss.c
	_ = c.SetDeadline(time.Time{})
	idle := make(chan struct{})
	var seen int64
	var timer *time.Timer
	var mu sync.Mutex // guards timer until it is set, and seen
	mu.Lock()
	timer = time.AfterFunc(c.cfg.UDPIdle, func() {
		mu.Lock()
		defer mu.Unlock()
		if n := a.datagrams.Load(); n != seen {
			seen = n
			timer.Reset(c.cfg.UDPIdle)
			return
		}
		close(idle)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes the reader below
	})
	mu.Unlock()
	defer timer.Stop()

	a.readers.Go(a.fromClient)
	_, err := io.Copy(io.Discard, c.Conn) // the client sends nothing here; the end of the connection is awaited
	_ = a.inside.Close()
	a.cancel() // ends look-ups
	a.close()
	a.readers.Wait()
	select {
	case <-idle:
		return errIdle
	default:
		return err
	}
}

// close closes the sockets towards destinations, which ends their goroutines.
func (a *association) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, o := range a.outside {
		_ = o.Close()
	}
}

// received is a datagram from the side of the client.
type received struct {
	data []byte // in a borrowed buffer
	from netip.AddrPort
}

// fromClient passes on what the client sends.
func (a *association) fromClient() {
	var room [udpBatch]received
	for {
		if waitReadable(a.inside) != nil {
			return
		}
		b := a.ss.s.bytes.buffer()
		batch, err := readBatch(a.inside, room[:0], b[:])
		a.forwardAll(batch)
		a.ss.s.bytes.putBuffer(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// readBatch waits for a datagram and reads it into b. It also reads those that are there
// already, if they fit into b after it. So an association holds one buffer, and not
// udpBatch of them, while it waits for the rules or for the manager.
func readBatch(pc *net.UDPConn, batch []received, b []byte) ([]received, error) {
	for {
		n, from, err := pc.ReadFromUDPAddrPort(b)
		if err != nil {
			return batch, err
		}
		batch = append(batch, received{b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())})
		if b = b[n:]; len(batch) == udpBatch {
			return batch, nil
		}
		if next, ok := nextSize(pc); !ok || next > len(b) {
			return batch, nil
		}
	}
}

// forwardAll sends on those datagrams that are the client's. The rules are asked whose
// they are after all of them have come: an earlier answer would be about whoever had
// the port before.
func (a *association) forwardAll(batch []received) {
	var asked netip.AddrPort // about which port, in this batch
	its := false             // it is the client's
	for _, d := range batch {
		if !a.mayBeClients(d.from) {
			continue
		}
		dest, data, err := parseDatagram(d.data)
		fragment := errors.Is(err, errFragment)
		if err != nil && !fragment {
			continue
		}
		if asked != d.from {
			asked, its = d.from, a.isClients(d.from)
		}
		switch {
		case !its:
		case fragment:
			a.ss.fragments.Add(1)
		default:
			a.forward(dest, data)
		}
	}
}

// forward sends one datagram of the client on. Where sending fails the datagram is
// lost: UDP has no way to say so.
func (a *association) forward(dest Addr, data []byte) {
	if ip := dest.IP(); ip.IsValid() {
		a.transmit(data, dest, ip)
		return
	}
	a.byName(data, dest)
}

// mayBeClients tells whether a datagram from an address can be the client's.
func (a *association) mayBeClients(from netip.AddrPort) bool {
	own := a.ss.c.client.Addr()
	client := a.client.Load()
	switch {
	case client != nil && *client != from:
		return false
	case own.IsValid() && from.Addr().WithZone("") != own, !own.IsValid() && !from.Addr().IsLoopback(), a.announced != 0 && from.Port() != a.announced:
		return false
	}
	return true
}

// isClients tells whether datagrams that have come from an address, which mayBeClients
// has let pass, are the client's. The first one that is settles the address for the rest
// of the association.
func (a *association) isClients(from netip.AddrPort) bool {
	if !a.owned(from, 0) {
		return false
	}
	if a.client.Load() == nil {
		a.client.Store(&from)
	}
	return true
}

// owned tells whether a port of the client's address belongs to the client. The client
// may close its socket, and another program may get the port while the association goes
// on. An earlier answer about the client's port holds if it is at most so old.
func (a *association) owned(port netip.AddrPort, old time.Duration) bool {
	rules, ok := a.ss.c.cfg.Rules.(SenderRules)
	if !ok {
		return true
	}
	a.asking.Lock()
	defer a.asking.Unlock()
	if old > 0 && time.Since(a.checked) < old {
		return !a.foreign
	}
	err := rules.AllowSender(a.ctx, a.ss.Request, netip.AddrPortFrom(port.Addr().WithZone(""), port.Port()), a.bound)
	if client := a.client.Load(); err == nil || client != nil && *client == port {
		a.foreign, a.checked = err != nil, time.Now()
	}
	if err != nil && !a.warned {
		a.warned = true
		a.ss.c.cfg.Logger.Warn("a datagram for somebody else's association is dropped, and so are others for it", "err", err)
	}
	return err == nil
}

// transmit sends data to ip, an address of dest, if the rules allow that.
func (a *association) transmit(data []byte, dest Addr, ip netip.Addr) {
	ap := netip.AddrPortFrom(ip.Unmap(), dest.Port)
	if a.allow(dest, ap) != nil {
		return
	}
	a.datagrams.Add(1)
	a.sending.Lock()
	defer a.sending.Unlock()
	if a.send(data, ap) == nil {
		a.ss.sent.Add(int64(len(data)))
	}
}

// toClient passes on what arrives at one socket towards destinations.
func (a *association) toClient(o net.PacketConn) {
	for {
		if waitReadable(o) != nil {
			return
		}
		b := a.ss.s.bytes.buffer()
		n, from, err := o.ReadFrom(b[datagramHeader:])
		if err == nil {
			a.deliver(b, n, addrPort(from))
		}
		a.ss.s.bytes.putBuffer(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// deliver sends a datagram to the client, unless the client never sent to its sender.
// b holds n bytes of data after room for a header.
func (a *association) deliver(b *[bufferSize]byte, n int, from netip.AddrPort) {
	client := a.client.Load()
	if client == nil {
		return
	}
	a.mu.Lock()
	ok := a.peers.mayAnswer(from.Addr())
	a.mu.Unlock()
	if !ok || !a.owned(*client, udpOwnerFor) {
		return
	}
	a.answered(time.Since(a.ss.Begun))
	a.datagrams.Add(1)
	begin := putDatagramHeader((*[datagramHeader]byte)(b[:datagramHeader]), from)
	if _, err := a.inside.WriteToUDPAddrPort(b[begin:datagramHeader+n], *client); err == nil {
		a.ss.received.Add(int64(n))
	}
}
