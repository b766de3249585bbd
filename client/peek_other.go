//go:build !linux

package client

import "net"

// peerClosed cannot tell here; the first use of the connection will.
func peerClosed(net.Conn) bool { return false }

// readable cannot tell here. There is no manager either.
func readable(net.Conn) bool { return false }
