package client

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// canBeginConnect tells whether beginConnect does anything.
const canBeginConnect = true

// beginConnect begins to connect a TCP socket, in the last step before package net does.
// To a peer on this host the connection is there when the system call returns, though it
// returns EINPROGRESS. Package net then finds it connected. Otherwise package net would
// let the goroutine wait for the poller, and the runtime would wake a thread for it. That
// takes longer than to connect.
//
// If it takes longer to connect, or fails, package net's own call shows that as usual:
// the kernel answers EALREADY, or with the error.
func beginConnect(network, address string, raw syscall.RawConn) {
	remote, err := netip.ParseAddrPort(address)
	if err != nil || remote.Addr().Zone() != "" {
		return
	}
	var to unix.Sockaddr
	switch ip := remote.Addr(); {
	case network == "tcp4" && ip.Is4():
		to = &unix.SockaddrInet4{Port: int(remote.Port()), Addr: ip.As4()}
	case network == "tcp6" && ip.Is6():
		to = &unix.SockaddrInet6{Port: int(remote.Port()), Addr: ip.As16()}
	default:
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Connect(int(fd), to) })
}
