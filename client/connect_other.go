//go:build !linux

package client

import "syscall"

const canBeginConnect = false

func beginConnect(string, string, syscall.RawConn) {}
