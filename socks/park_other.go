//go:build !linux

package socks

import "syscall"

const canPark = false

// lot is for what has epoll; elsewhere, each direction waits in its goroutine.
type lot struct{}

func (*lot) park(*flow, syscall.RawConn) bool { return false }
func (*lot) wake(*flow)                       {}
func (*lot) close()                           {}
