package socks

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// A connection through the proxy behaves as package net's tests demand.
func TestConnIsOne(t *testing.T) {
	accepted := make(chan *net.TCPConn)
	done := make(chan struct{})
	dest := serveTCP(t, func(c *net.TCPConn) {
		select {
		case accepted <- c:
			<-done // else the connection would be closed
		case <-done:
		}
	})
	t.Cleanup(func() { close(done) })
	for name, open := range map[string]func(*testProxy, testing.TB, string) *net.TCPConn{"socks": (*testProxy).through, "connect": (*testProxy).tunnel} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, Config{})
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				client := open(p, t, dest.String())
				server := <-accepted
				_ = client.SetDeadline(time.Time{})
				return client, server, func() {
					_ = client.Close()
					_ = server.Close()
				}, nil
			})
		})
	}
}
