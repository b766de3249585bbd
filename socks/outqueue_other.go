//go:build !linux

package socks

import "net"

// Other kernels do not tell.
func unacknowledged(net.Conn) (int, error) { return 0, nil }

func unread(net.Conn) int { return -1 }

func hungUp(net.Conn) bool { return false }
