//go:build !linux

package socks

func (f flow) copyRaw(rawConn) error { return f.copyPlain() }

// pipePool is for splicing, which only Linux has.
type pipePool struct{}

func (*pipePool) close() {}
