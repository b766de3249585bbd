//go:build !linux

package socks

import "net"

func waitReadable(net.PacketConn) error { return nil }

func nextSize(net.PacketConn) (size int, ok bool) { return 0, false }

func waitGone(net.Conn) bool { return false }
