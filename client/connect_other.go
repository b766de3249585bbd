//go:build !linux

package client

import (
	"net/netip"
	"syscall"
)

const canBeginConnect = false

func canBegin(string, netip.Addr, netip.Addr) bool { return false }

func beginConnect(string, string, netip.Addr, syscall.RawConn) error { return nil }
