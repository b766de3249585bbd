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
	"syscall"
	"time"
)

const (
	// Beyond these an association forgets what it knows and finds it out again.
	maxUDPPeers = 1024
	maxUDPNames = 64

	udpNameTTL     = 30 * time.Second
	udpReopenEvery = time.Second // where sending fails

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
	// The address that the client reached is one that it can send to.
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(c.local.Addr(), 0).String())
	if err != nil {
		ss.refuse(err, reply)
		return
	}
	a := &association{ss: ss, ctx: ctx, inside: pc.(*net.UDPConn), outside: map[bool]net.PacketConn{}, peers: map[netip.AddrPort]error{}, names: map[string]udpName{}}
	if port := ss.Request.Dest.Port; port != 0 {
		a.client.Store(new(netip.AddrPortFrom(c.client.Addr(), port)))
	}
	ss.SetUp = time.Since(ss.Begun)
	c.cfg.Hooks.Established(ss)
	if err = reply(c, Succeeded, addrPort(pc.LocalAddr())); err == nil {
		err = a.run()
	} else {
		_ = pc.Close()
	}
	_ = c.Close()
	c.cfg.Hooks.Ended(ss, err)
}

// association is a running UDP association.
type association struct {
	ss     *Session
	ctx    context.Context // of the association; outlives no call of run
	inside *net.UDPConn    // towards the client
	// client is the address that datagrams are taken from and sent to: what the
	// client announced, else where its first one came from.
	client    atomic.Pointer[netip.AddrPort]
	datagrams atomic.Int64
	// asked is when the first datagram was sent since one came, as time since the
	// request; 0 if none was.
	asked   atomic.Int64
	readers sync.WaitGroup

	// Of the goroutine that reads from the client.
	names   map[string]udpName
	moved   time.Time     // last, to another network
	silence time.Duration // since asked, that is not borne any more

	mu      sync.Mutex
	outside map[bool]net.PacketConn  // by Is4
	peers   map[netip.AddrPort]error // that were asked about, and what the rules say
	known   map[netip.Addr]struct{}  // that may answer
	closed  bool
}

type udpName struct {
	addrs []netip.Addr
	until time.Time
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
			a.forward(b[:n], netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()))
		}
		a.ss.s.bytes.putBuffer(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// forward sends one datagram on. What cannot be sent is dropped, as datagrams are.
func (a *association) forward(b []byte, from netip.AddrPort) {
	if from.Addr() != a.ss.c.client.Addr() {
		return
	}
	if client := a.client.Load(); client != nil && *client != from {
		return
	}
	dest, data, err := parseDatagram(b)
	if err != nil {
		return
	}
	a.client.CompareAndSwap(nil, &from) // by the first that makes sense
	ap, err := a.resolve(dest)
	if err != nil || a.allow(ap) != nil {
		return
	}
	a.datagrams.Add(1)
	if a.send(data, ap) == nil {
		a.ss.sent.Add(int64(len(data)))
	}
}

func (a *association) resolve(dest Addr) (netip.AddrPort, error) {
	if ip := dest.IP(); ip.IsValid() {
		return netip.AddrPortFrom(ip, dest.Port), nil
	}
	now := time.Now()
	name, ok := a.names[dest.Host]
	if !ok || now.After(name.until) {
		ctx, cancel := context.WithTimeout(a.ctx, a.ss.c.cfg.Connect)
		addrs, err := a.ss.c.cfg.Resolve(ctx, "ip", dest.Host)
		cancel()
		if err != nil {
			addrs = nil // not asked again for each datagram
		}
		name = udpName{addrs, now.Add(udpNameTTL)}
		if len(a.names) >= maxUDPNames {
			clear(a.names)
		}
		a.names[dest.Host] = name
	}
	if len(name.addrs) == 0 {
		return netip.AddrPort{}, &net.DNSError{Name: dest.Host, Err: "no address", IsNotFound: true}
	}
	return netip.AddrPortFrom(name.addrs[0].Unmap(), dest.Port), nil
}

// allow asks the rules once per destination, and remembers who may answer.
func (a *association) allow(ap netip.AddrPort) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err, asked := a.peers[ap]
	if asked {
		return err
	}
	if len(a.peers) >= maxUDPPeers {
		clear(a.peers)
		clear(a.known)
	}
	err = scope{a.ss.s, a.ss.c.cfg, a.ss.Request}.check(a.ctx, ap)
	a.peers[ap] = err
	if err == nil {
		if a.known == nil {
			a.known = map[netip.Addr]struct{}{}
		}
		a.known[ap.Addr()] = struct{}{}
	}
	return err
}

// send sends data to ap. If the network that the association is on has gone, it
// moves to another one.
func (a *association) send(data []byte, ap netip.AddrPort) error {
	o, err := a.open(ap, nil)
	if err != nil {
		return err
	}
	if a.isSilent() {
		o = a.reconsider(ap, o)
	}
	to := net.UDPAddrFromAddrPort(ap)
	_, err = o.WriteTo(data, to)
	if err == nil || aboutDatagram(err) || time.Since(a.moved) < udpReopenEvery {
		return err
	}
	a.moved = time.Now()
	if o, err = a.open(ap, o); err != nil {
		return err
	}
	_, err = o.WriteTo(data, to)
	return err
}

// aboutDatagram tells that an error concerns what was sent, not where from.
func aboutDatagram(err error) bool {
	return errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOBUFS)
}

// isSilent tells that nothing has come for too long. It is asked with each
// datagram and says so now and then only.
func (a *association) isSilent() bool {
	now := time.Since(a.ss.Begun)
	if a.asked.CompareAndSwap(0, int64(now)) {
		a.silence = a.ss.c.cfg.udpSilence
		return false
	}
	asked := time.Duration(a.asked.Load())
	if asked == 0 || now-asked < a.silence {
		return false
	}
	a.silence = now - asked + min(now-asked, maxUDPSilence)
	return true
}

type silenceKey struct{}

// SilentSince tells a Config's ListenPacket why it is called again: since when
// the association has sent and heard nothing. It is zero if that is not why.
func SilentSince(ctx context.Context) time.Time {
	since, _ := ctx.Value(silenceKey{}).(time.Time)
	return since
}

// reconsider has another network chosen in place of the one that o is on. If it is
// the same one, o stays: a new port would undo what is on the way.
func (a *association) reconsider(ap netip.AddrPort, o net.PacketConn) net.PacketConn {
	ctx := a.ctx
	if asked := a.asked.Load(); asked != 0 {
		ctx = context.WithValue(ctx, silenceKey{}, a.ss.Begun.Add(time.Duration(asked)))
	}
	n, err := a.listen(ctx, ap)
	if err != nil {
		return o
	}
	if addrPort(n.LocalAddr()).Addr() == addrPort(o.LocalAddr()).Addr() {
		_ = n.Close()
		return o
	}
	if a.adopt(ap, n) != nil {
		return o
	}
	_ = o.Close()
	return n
}

// open returns the socket for ap's family. It opens one if there is none, or
// only broken.
func (a *association) open(ap netip.AddrPort, broken net.PacketConn) (net.PacketConn, error) {
	a.mu.Lock()
	o := a.outside[ap.Addr().Is4()]
	a.mu.Unlock()
	if o != nil && o != broken {
		return o, nil
	}
	o, err := a.listen(a.ctx, ap)
	if err != nil {
		return nil, err
	}
	if err := a.adopt(ap, o); err != nil {
		return nil, err
	}
	if broken != nil {
		_ = broken.Close()
	}
	return o, nil
}

// listen opens a socket for ap's family.
func (a *association) listen(ctx context.Context, ap netip.AddrPort) (net.PacketConn, error) {
	network := "udp6"
	if ap.Addr().Is4() {
		network = "udp4"
	}
	ctx, cancel := context.WithTimeout(ctx, a.ss.c.cfg.Connect)
	defer cancel()
	return a.ss.c.cfg.ListenPacket(ctx, network, ap.String())
}

// adopt makes o the socket for ap's family.
func (a *association) adopt(ap netip.AddrPort, o net.PacketConn) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		_ = o.Close()
		return net.ErrClosed
	}
	a.outside[ap.Addr().Is4()] = o
	a.readers.Go(func() { a.toClient(o) })
	return nil
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
	_, ok := a.known[from.Addr()]
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
