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
// another one. To understand zones is left to package net.
func canBegin(network string, local, remote netip.Addr) bool {
	six := func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.Zone() == "" }
	return network == "tcp4" && remote.Is4() && local.Is4() || network == "tcp6" && six(remote) && six(local)
}

// beginConnect begins to connect a TCP socket, in the last step before package net does,
// and binds it to an address before, if that is valid. An error is one of binding it.
// To a peer on this host the connection is there when the system call returns, though it
// returns EINPROGRESS. Package net then finds it connected. Otherwise package net would
// let the goroutine wait for the poller, and the runtime would wake a thread for it. That
// takes longer than to connect.
//
// If it takes longer to connect, or fails, package net's own call shows that as usual:
// the kernel answers EALREADY, or with the error.
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
