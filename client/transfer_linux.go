package client

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// figuresOf asks the kernel about a TCP connection (struct tcp_info).
func figuresOf(conn net.Conn) (f tcpFigures, ok bool) {
	for {
		u, wrapped := conn.(interface{ NetConn() net.Conn })
		if !wrapped {
			break
		}
		conn = u.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return f, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return f, false
	}
	var info *unix.TCPInfo
	if raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }) != nil || err != nil {
		return f, false
	}
	return tcpFigures{
		received: info.Bytes_received, silent: time.Duration(info.Last_data_recv) * time.Millisecond,
		rtt: time.Duration(info.Rtt) * time.Microsecond, minRTT: time.Duration(info.Min_rtt) * time.Microsecond,
	}, true
}
