//go:build !linux

package socks

import "net"

func (f *flow) copyRaw(rawConn) error { return f.copyPlain() }

// lazyRead reads a connection with a borrowed buffer.
type lazyRead struct {
	s    *Server
	conn net.Conn
	wait func()
}

func (l *lazyRead) init(s *Server, nc net.Conn, wait func()) { l.s, l.conn, l.wait = s, nc, wait }

func (l *lazyRead) read() (*[bufferSize]byte, int, error) {
	l.wait()
	return l.s.bytes.read(l.conn)
}

// pipePool is for splicing, which only Linux has.
type pipePool struct{}

func (*pipePool) close() {}
