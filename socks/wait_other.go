//go:build !linux

package socks

import "net"

func waitReadable(net.PacketConn) error { return nil }

func isReadable(net.PacketConn) bool { return false }

func waitGone(net.Conn) bool { return false }
