//go:build !linux

package client

import "net"

// peerClosed cannot tell on this system. The first use of the connection will.
func peerClosed(net.Conn) bool { return false }

// readable cannot tell on this system, which has no manager either.
func readable(net.Conn) bool { return false }
