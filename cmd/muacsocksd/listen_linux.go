package main

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func listenConfig() *net.ListenConfig {
	lc := &net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			if os.Getenv("DEFER") != "" {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
			}
		}); e != nil {
			return e
		}
		return err
	}}
	if os.Getenv("NOMP") != "" {
		lc.SetMultipathTCP(false)
	}
	if os.Getenv("KA") != "" {
		lc.KeepAlive = 0
	}
	return lc
}
