package socks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// lookUp serves RESOLVE and RESOLVE_PTR. In place of the bound address, the reply has
// the address of a name, or the name of an address.
func (ss *Session) lookUp(reply replier) {
	c := ss.c
	ctx, cancel := context.WithTimeout(ss.context(ss.s.ctx), c.cfg.Connect)
	defer cancel()
	watched := c.watch(nil, cancel)
	answer, err := ss.answer(ctx)
	if watched.stop() {
		err = errLeft
	}
	if err != nil {
		ss.refuse(err, reply)
		return
	}
	ss.SetUp = time.Since(ss.Begun)
	c.cfg.Hooks.Established(ss)
	_ = c.SetDeadline(time.Now().Add(c.cfg.Handshake))
	_, err = c.Write(append([]byte{socks5Version, byte(Succeeded), 0}, answer...))
	c.cfg.Hooks.Ended(ss, err)
	if err == nil {
		c.farewell()
	}
	_ = c.Close()
}

// answer returns the result of the look-up in the format of SOCKS 5.
func (ss *Session) answer(ctx context.Context) ([]byte, error) {
	if err := ss.c.cfg.Rules.Allow(ctx, ss.Request); err != nil {
		return nil, err
	}
	dest := ss.Request.Dest
	ip := dest.IP()
	if ss.Request.Command == CommandResolvePTR {
		if !ip.IsValid() {
			return nil, &Error{Reply: AddressTypeNotSupported, Err: fmt.Errorf("%v of a name", CommandResolvePTR)}
		}
		names, err := ss.c.cfg.ResolvePTR(ctx, ip)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if n = strings.TrimSuffix(n, "."); n != "" && len(n) <= maxName {
				return append(append([]byte{byte(AddrName), byte(len(n))}, n...), 0, 0), nil
			}
		}
		return nil, &net.DNSError{Name: ip.String(), Err: "no name", IsNotFound: true}
	}
	if ip.IsValid() {
		return appendAddr(nil, netip.AddrPortFrom(ip, 0)), nil
	}
	ips, err := ss.c.cfg.Resolve(ctx, "ip", dest.Host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, &Error{Reply: HostUnreachable, Err: errors.New("the name has no address")}
	}
	if ips, err = ss.allowed(ctx, ips); err != nil {
		return nil, err
	}
	// Some programs that use these commands know one family only, and that is IPv4.
	best := ips[0]
	for _, candidate := range ips {
		if candidate.Unmap().Is4() {
			best = candidate
			break
		}
	}
	return appendAddr(nil, netip.AddrPortFrom(best, 0)), nil
}

// allowed returns those addresses of the name that the client may use. If there are none, it
// returns why.
func (ss *Session) allowed(ctx context.Context, ips []netip.Addr) (ok []netip.Addr, err error) {
	dest := ss.Request.Dest
	for _, ip := range ips {
		refused := ss.scope(dest).check(ctx, netip.AddrPortFrom(ip, dest.Port))
		if refused == nil {
			ok = append(ok, ip)
		}
		err = cmp.Or(err, refused)
	}
	if len(ok) > 0 {
		err = nil
	}
	return ok, err
}
