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
	return figuresFrom(info), true
}

// noMinRTT stands in tcpi_min_rtt until a round-trip time was measured. That may last: where
// the SYN was repeated, and the peer has no time stamps (RFC 7323), there is none before data
// is sent.
const noMinRTT = 1<<32 - 1

func figuresFrom(info *unix.TCPInfo) tcpFigures {
	f := tcpFigures{
		received: info.Bytes_received, silent: time.Duration(info.Last_data_recv) * time.Millisecond, rtt: time.Duration(info.Rtt) * time.Microsecond,
	}
	if info.Min_rtt != noMinRTT {
		f.minRTT = time.Duration(info.Min_rtt) * time.Microsecond
	}
	return f
}
