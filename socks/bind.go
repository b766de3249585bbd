package socks

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// bind serves BIND: the proxy listens, and waits for one connection from the
// destination (RFC 1928 section 4). The first reply has the address that the proxy
// listens at. The second reply has the address that connected.
func (ss *Session) bind(early []byte, reply replier) {
	c := ss.c
	ctx, cancel := context.WithTimeout(ss.context(ss.s.ctx), c.cfg.Connect)
	defer cancel()
	if !c.cfg.AllowBind {
		ss.refuse(&Error{Reply: CommandNotSupported, Err: fmt.Errorf("%v is switched off", CommandBind)}, reply)
		return
	}
	watched := c.watch(early, cancel)
	remote, err := ss.await(ctx, reply)
	if watched.stop() {
		if err == nil {
			reset(remote)
		}
		err = errLeft
	}
	if err != nil {
		ss.refuse(err, reply)
		return
	}
	cancel()
	ss.SetUp, ss.Conn = time.Since(ss.Begun), remote
	c.cfg.Hooks.Established(ss)
	ss.run(remote, early, func(w io.Writer, r Reply, _ netip.AddrPort, cause error) error {
		return reply(w, r, addrPort(remote.RemoteAddr()), cause)
	})
}

// await listens, sends the first reply, and accepts the connection from the
// destination.
func (ss *Session) await(ctx context.Context, reply replier) (net.Conn, error) {
	if err := ss.allow(ctx); err != nil {
		return nil, err
	}
	from, err := ss.expected(ctx)
	if err != nil {
		return nil, err
	}
	address := ss.Request.Dest.String()
	if len(from) > 0 {
		address = netip.AddrPortFrom(from[0], ss.Request.Dest.Port).String()
	}
	ctx = context.WithValue(ctx, bindPortKey{}, ss.givenPort())
	l, err := ss.c.cfg.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	ss.gave(addrPort(l.Addr()).Port())
	defer func() { _ = l.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	_ = ss.c.SetDeadline(time.Now().Add(ss.c.cfg.Handshake))
	if err := reply(ss.c, Succeeded, addrPort(l.Addr()), nil); err != nil {
		return nil, err
	}
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("wait for the destination: %w", err)
		}
		peer := addrPort(nc.RemoteAddr())
		if len(from) == 0 || slices.Contains(from, peer.Addr()) {
			if ss.scope(ss.Request.Dest).check(ctx, peer) == nil {
				return nc, nil
			}
		}
		reset(nc)
	}
}

// expected returns the addresses that may connect. If there are none, any address may.
func (ss *Session) expected(ctx context.Context) ([]netip.Addr, error) {
	dest := ss.Request.Dest
	ip := dest.IP()
	switch {
	case !ip.IsValid():
		ips, err := ss.c.cfg.Resolve(ctx, "ip", dest.Host)
		for i := range ips {
			ips[i] = ips[i].Unmap()
		}
		return ips, err
	case ip.IsUnspecified():
		return nil, nil
	}
	return []netip.Addr{ip}, nil
}

// listenTowards listens at the address from which this host would send to address.
func listenTowards(ctx context.Context, network, address string) (net.Listener, error) {
	var d net.Dialer
	probe, err := d.DialContext(ctx, "udp", address) // connecting a UDP socket sends nothing
	if err != nil {
		return nil, err
	}
	local := addrPort(probe.LocalAddr()).Addr()
	_ = probe.Close()
	var lc net.ListenConfig
	if port := BindPort(ctx); port != 0 {
		if l, err := lc.Listen(ctx, network, netip.AddrPortFrom(local, port).String()); err == nil {
			return l, nil
		}
	}
	return lc.Listen(ctx, network, netip.AddrPortFrom(local, 0).String())
}

// maxBindPorts limits how many ports that clients were given by BIND are remembered.
const maxBindPorts = 1024

// bindKey is a port that a client was given by BIND.
type bindKey struct {
	client netip.Addr
	port   uint16
}

// gave remembers that the client was given port.
func (ss *Session) gave(port uint16) {
	s := ss.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound == nil || len(s.bound) >= maxBindPorts {
		s.bound = map[bindKey]struct{}{}
	}
	s.bound[bindKey{ss.c.client.Addr(), port}] = struct{}{}
}

// givenPort returns the port that the client asks for, if the client was given this
// port by an earlier BIND, else 0. A client that expects several connections at one
// port sends one BIND for each.
func (ss *Session) givenPort() uint16 {
	s := ss.s
	s.mu.Lock()
	defer s.mu.Unlock()
	port := ss.Request.Dest.Port
	if _, ok := s.bound[bindKey{ss.c.client.Addr(), port}]; !ok {
		return 0
	}
	return port
}

type bindPortKey struct{}

// BindPort returns the port that a Config's Listen should use if that port is free. 0
// means any port.
func BindPort(ctx context.Context) uint16 {
	port, _ := ctx.Value(bindPortKey{}).(uint16)
	return port
}
