//go:build !linux

package socks

import "syscall"

const canPark = false

// lot needs epoll. On other systems each direction waits in its own goroutine.
type lot struct{}

func (*lot) park(*flow, syscall.RawConn) bool { return false }
func (*lot) wake(*flow)                       {}
func (*lot) close()                           {}
