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
	if s := a.isSilent(); !s.since.IsZero() {
		o = a.reconsider(ap, o, s)
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

// answered notes that an answer has come, at a time since the request.
func (a *association) answered(now time.Duration) {
	asked := time.Duration(a.asked.Swap(0))
	a.unanswered.Store(0)
	if asked == 0 {
		return // the latest datagrams were answered already
	}
	slowest := time.Duration(a.slowest.Load())
	a.slowest.Store(int64(max(now-asked, slowest-slowest/8, 1)))
}

// isSilent tells whether the time has come to take another network because no answer
// arrives. It is called for each datagram. It returns the zero silence if the time has
// not come. After each silence, the next one must be twice as long (see
// defaultUDPSilence).
func (a *association) isSilent() (s silence) {
	now := time.Since(a.ss.Begun)
	slowest := time.Duration(a.slowest.Load())
	patience := max(leastUDPSilence, silentRoundTrips*slowest)
	n := a.unanswered.Add(1)
	if a.asked.CompareAndSwap(0, int64(now)) {
		a.silence = a.ss.c.cfg.udpSilence
		if slowest > 0 {
			a.silence = min(a.silence, patience)
		}
		return s
	}
	asked := time.Duration(a.asked.Load())
	if asked == 0 || now-asked < a.silence {
		return s
	}
	s.wasAnswering = slowest > 0 && now-asked >= patience && n >= unansweredToNotice
	if slowest > 0 && !s.wasAnswering && now-asked < a.ss.c.cfg.udpSilence {
		return silence{} // too few datagrams yet
	}
	s.since = a.ss.Begun.Add(asked)
	a.silence = now - asked + min(now-asked, maxUDPSilence)
	return s
}

// silence is why another network is to be taken.
type silence struct {
	since        time.Time
	wasAnswering bool
}

type silenceKey struct{}

// SilentSince is for a Config's ListenPacket. If the function is called because an
// association sends and gets no answers, SilentSince returns when the first datagram
// without an answer was sent. Otherwise it returns the zero time.
func SilentSince(ctx context.Context) time.Time {
	s, _ := ctx.Value(silenceKey{}).(silence)
	return s.since
}

// WasAnswering is for a Config's ListenPacket that is called because of silence. It tells
// that answers came before, and that several datagrams in a row had none for three times
// as long as answers took, 300 ms at least: it is likely that the network has failed.
func WasAnswering(ctx context.Context) bool {
	s, _ := ctx.Value(silenceKey{}).(silence)
	return s.wasAnswering
}

// reconsider has a network chosen again, and returns the socket to use. If the new
// socket has the same address, o stays in use: answers under way go to its port.
func (a *association) reconsider(ap netip.AddrPort, o net.PacketConn, s silence) net.PacketConn {
	n, err := a.listen(context.WithValue(a.ctx, silenceKey{}, s), ap)
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
