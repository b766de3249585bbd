//go:build !linux

package socks

import "net"

// The functions below stand in for those of wait_linux.go, which save memory and notice
// early that a peer has left. A Server works without both.

func waitReadable(net.PacketConn) error { return nil }

func nextSize(net.PacketConn) (size int, ok bool) { return 0, false }

func waitGone(net.Conn) bool { return false }
