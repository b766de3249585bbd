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
	udpReopenEvery = time.Second // where sending fails
	udpSenderEvery = time.Second // that the rules are asked about the client's port

	// A network that died somewhere else takes datagrams without an error. When
	// nothing has come for the first of these times, though something was sent,
	// there may be a better network, and again when twice as long has gone by, and
	// so on. Few answers take longer.
	defaultUDPSilence = time.Second
	maxUDPSilence     = 2 * time.Minute
)

// associate serves UDP ASSOCIATE. The association lives as long as the client's
// connection.
func (ss *Session) associate(reply replier) {
	c := ss.c
	if c.cfg.DisableUDP {
		ss.refuse(&Error{CommandNotSupported, fmt.Errorf("%v is switched off", CommandUDPAssociate)}, reply)
		return
	}
	ctx, cancel := context.WithCancel(ss.context(ss.s.ctx))
	defer cancel()
	if err := ss.allow(ctx); err != nil {
		ss.refuse(err, reply)
		return
	}
	pc, err := ss.listenForClient(ctx)
	if err != nil {
		ss.refuse(err, reply)
		return
	}
	a := &association{ss: ss, ctx: ctx, cancel: cancel, inside: pc, outside: map[bool]net.PacketConn{}, announced: ss.announcedPort()}
	a.bound = addrPort(pc.LocalAddr())
	ss.SetUp = time.Since(ss.Begun)
	c.cfg.Hooks.Established(ss)
	if err = reply(c, Succeeded, a.bound); err == nil {
		err = a.run()
	} else {
		_ = pc.Close()
	}
	_ = c.Close()
	c.cfg.Hooks.Ended(ss, err)
}

// listenForClient opens the side of an association that the client sends to: at
// the address that it reached, which may be one of a link and need its zone.
func (ss *Session) listenForClient(ctx context.Context) (*net.UDPConn, error) {
	c := ss.c
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if ap, ok := c.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		local = ap.AddrPort().Addr().Unmap()
	} else if _, ok := c.cfg.Rules.(SenderRules); !ok {
		return nil, &Error{CommandNotSupported, errors.New("nothing tells whose datagrams are those of a client without an address")}
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// announcedPort is the only one that the client is going to send from, 0 if it
// did not say. Clients also announce where they are going to send to, which is no
// use; on one host the two look the same, but there SenderRules tell whose
// datagrams are whose.
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
	ctx    context.Context // of the association; outlives no call of run
	cancel context.CancelFunc
	inside *net.UDPConn   // towards the client
	bound  netip.AddrPort // its address
	// client is the address that datagrams are taken from and sent to: where the
	// first one came from. It may have a zone.
	client    atomic.Pointer[netip.AddrPort]
	datagrams atomic.Int64
	// asked is when the first datagram was sent since one came, as time since the
	// request; 0 if none was.
	asked   atomic.Int64
	readers sync.WaitGroup

	// Of the goroutine that reads from the client.
	announced uint16    // the only port that is the client's, 0 if not known
	checked   time.Time // last, that client is its
	warned    bool      // of datagrams that are not the client's

	sending sync.Mutex    // and for
	moved   time.Time     // last, to another network
	silence time.Duration // since asked, that is not borne any more

	mu      sync.Mutex
	outside map[bool]net.PacketConn // by Is4
	names   udpNames
	peers   udpPeers
	closed  bool
}

// run moves datagrams until the client's connection ends.
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
	_, err := io.Copy(io.Discard, c.Conn) // nothing is expected
	_ = a.inside.Close()
	a.cancel() // look-ups under way
	a.close()
	a.readers.Wait()
	select {
	case <-idle:
		return errIdle
	default:
		return err
	}
}

func (a *association) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, o := range a.outside {
		_ = o.Close()
	}
}

// fromClient passes on what the client sends.
func (a *association) fromClient() {
	for {
		if waitReadable(a.inside) != nil {
			return
		}
		b := a.ss.s.bytes.buffer()
		n, from, err := a.inside.ReadFromUDPAddrPort(b[:])
		if err == nil {
			a.forward(b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
		a.ss.s.bytes.putBuffer(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// forward sends one datagram on. What cannot be sent is dropped, as datagrams are.
func (a *association) forward(b []byte, from netip.AddrPort) {
	dest, data, err := parseDatagram(b)
	if err != nil || !a.isClients(from) {
		return
	}
	if ip := dest.IP(); ip.IsValid() {
		a.transmit(data, dest, ip)
		return
	}
	a.byName(data, dest)
}

// isClients tells whether a datagram is the client's. The first one that is says
// which port the client uses.
func (a *association) isClients(from netip.AddrPort) bool {
	own := a.ss.c.client.Addr()
	client := a.client.Load()
	switch {
	case client != nil && *client != from:
		return false
	case own.IsValid() && from.Addr().WithZone("") != own, !own.IsValid() && !from.Addr().IsLoopback(), a.announced != 0 && from.Port() != a.announced:
		return false
	}
	// The port may become another program's while the association goes on.
	if rules, ok := a.ss.c.cfg.Rules.(SenderRules); ok && (client == nil || time.Since(a.checked) >= udpSenderEvery) {
		if err := rules.AllowSender(a.ctx, a.ss.Request, netip.AddrPortFrom(from.Addr().WithZone(""), from.Port()), a.bound); err != nil {
			if !a.warned {
				a.warned = true
				a.ss.c.cfg.Logger.Warn("a datagram for somebody else's association is dropped, and so are others for it", "err", err)
			}
			return false
		}
		a.checked = time.Now()
	}
	if client == nil {
		a.client.Store(&from)
	}
	return true
}

// transmit sends data to an address of dest, if the rules allow it.
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

// toClient passes on what comes for the client, from those that it has sent to.
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

// deliver sends the n bytes behind the room for a header to the client.
func (a *association) deliver(b *[bufferSize]byte, n int, from netip.AddrPort) {
	client := a.client.Load()
	if client == nil {
		return
	}
	a.mu.Lock()
	ok := a.peers.mayAnswer(from.Addr())
	a.mu.Unlock()
	if !ok {
		return
	}
	a.asked.Store(0)
	a.datagrams.Add(1)
	begin := putDatagramHeader((*[datagramHeader]byte)(b[:datagramHeader]), from)
	if _, err := a.inside.WriteToUDPAddrPort(b[begin:datagramHeader+n], *client); err == nil {
		a.ss.received.Add(int64(n))
	}
}
