package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
)

// serveLeast is the least that a SOCKS 5 server in Go must do. It has no rules,
// time-outs, log or choice. It shows the cost of the net package, below which
// muacsocksd cannot come.
func serveLeast(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			_ = leastSession(c.(*net.TCPConn)) // its error does not matter
		}()
	}
}

func leastSession(c *net.TCPConn) error {
	var b [512]byte
	if _, err := io.ReadFull(c, b[:3]); err != nil {
		return err
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[:10]); err != nil {
		return err
	}
	if b[3] != 1 {
		return errors.New("not an IPv4 address")
	}
	dest := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[8])<<8|uint16(b[9]))
	r, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(dest))
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	var down sync.WaitGroup
	down.Go(func() {
		_, _ = io.Copy(c, r)
		_ = c.CloseWrite()
	})
	_, err = io.Copy(r, c)
	_ = r.CloseWrite()
	down.Wait()
	return err
}
