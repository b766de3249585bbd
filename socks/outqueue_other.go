//go:build !linux

package socks

import "net"

// These kernels do not say.
func unacknowledged(net.Conn) (int, error) { return 0, nil }

func hungUp(net.Conn) bool { return false }
