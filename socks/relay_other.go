//go:build !linux

package socks

import "net"

func (f *flow) copyRaw(rawConn) error { return f.copyPlain() }

// lazyRead reads a connection with a borrowed buffer.
type lazyRead struct {
	s    *Server
	conn net.Conn
}

func (l *lazyRead) init(s *Server, nc net.Conn) { l.s, l.conn = s, nc }

func (l *lazyRead) read() (*[bufferSize]byte, int, error) { return l.s.bytes.read(l.conn) }

// pipePool is for splicing, which only Linux has.
type pipePool struct{}

func (*pipePool) close() {}
