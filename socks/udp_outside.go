package socks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// send sends data to ap. If sending fails or no answers come, the association moves
// to a new socket, which may be on another network.
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

// aboutDatagram tells whether a failure is due to the datagram (its size, a firewall,
// a full queue). Another network would not help then.
func aboutDatagram(err error) bool {
	return errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOBUFS)
}

// isSilent tells whether the time has come to take another network because no answer
// arrives. It is called for each datagram. After it has returned true, it does so
// again only after twice the time (see defaultUDPSilence).
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

// SilentSince is for a Config's ListenPacket. If the function is called because an
// association sends and gets no answers, SilentSince returns when the first datagram
// without an answer was sent. Otherwise it returns the zero time.
func SilentSince(ctx context.Context) time.Time {
	since, _ := ctx.Value(silenceKey{}).(time.Time)
	return since
}

// reconsider has a network chosen again, and returns the socket to use. If the new
// socket has the same address, o stays in use: answers under way go to its port.
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

// open returns the socket for ap's family. It opens a new one if there is none, or if
// the one that exists is broken, which it closes.
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

// listen has ListenPacket open a socket for datagrams to ap.
func (a *association) listen(ctx context.Context, ap netip.AddrPort) (net.PacketConn, error) {
	network := "udp6"
	if ap.Addr().Is4() {
		network = "udp4"
	}
	ctx, cancel := context.WithTimeout(ctx, a.ss.c.cfg.Connect)
	defer cancel()
	return a.ss.c.cfg.ListenPacket(ctx, network, ap.String())
}

// adopt makes o the socket for ap's family, and starts the goroutine that reads from
// it. If the association has ended, adopt closes o instead.
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
