package client

import (
	"cmp"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// canBeginConnect tells whether beginConnect does anything.
const canBeginConnect = true

// canBegin tells whether beginConnect can bind a socket to an address and connect it to
// another one. It returns false for addresses with a zone, which package net understands.
func canBegin(network string, local, remote netip.Addr) bool {
	six := func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.Zone() == "" }
	return network == "tcp4" && remote.Is4() && local.Is4() || network == "tcp6" && six(remote) && six(local)
}

// beginConnect binds a TCP socket to local, if that is valid. Then it begins to connect the
// socket, right before package net would. Errors of connecting are not returned.
//
// If the peer is on this host, the connection is there when connect(2) returns, though it
// returns EINPROGRESS. Package net's own call then finds the socket connected. Without
// beginConnect, the goroutine would wait for the poller, and the runtime would wake a
// thread for it. To wake a thread takes longer than to connect.
//
// If the connection takes longer, package net's call gets EALREADY, and waits as usual. If
// connecting fails, that call gets the error.
func beginConnect(network, address string, local netip.Addr, raw syscall.RawConn) error {
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil //nolint:nilerr // package net says what is wrong with it
	}
	bind := local.IsValid()
	if !bind {
		local = netip.IPv4Unspecified()
		if remote.Addr().Is6() {
			local = netip.IPv6Unspecified()
		}
	}
	if !canBegin(network, local, remote.Addr()) {
		return nil
	}
	cerr := raw.Control(func(fd uintptr) {
		if bind {
			if err = unix.Bind(int(fd), sockaddr(netip.AddrPortFrom(local, 0))); err != nil {
				err = os.NewSyscallError("bind", err)
				return
			}
		}
		_ = unix.Connect(int(fd), sockaddr(remote))
	})
	return cmp.Or(cerr, err)
}

// sockaddr converts an address without a zone.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
