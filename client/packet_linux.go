package client

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// bindToDevice binds a socket to an interface.
func bindToDevice(uc *net.UDPConn, device string) error {
	raw, err := uc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) }); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", failed)
}

// watchAddresses returns a channel that has a value after the kernel has told of a change
// of links or addresses, until ctx ends. Where the kernel cannot be heard it never has one.
func watchAddresses(ctx context.Context, group *sync.WaitGroup) <-chan struct{} {
	changed := make(chan struct{}, 1)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return changed
	}
	f := os.NewFile(uintptr(fd), "netlink") // the runtime polls it
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = f.Close()
		return changed
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	group.Go(func() {
		defer stop()
		defer func() { _ = f.Close() }()
		buf := make([]byte, 16<<10)
		for ctx.Err() == nil {
			// The content of a message does not matter, because the socket's own state is
			// looked at. So a full buffer, by which messages are lost, is news as well.
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	return changed
}
