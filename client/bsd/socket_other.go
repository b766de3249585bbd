//go:build !linux

package bsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

// unsupported wraps errors.ErrUnsupported.
func unsupported(call string) error {
	return fmt.Errorf("%s on a descriptor on %s: %w", call, runtime.GOOS, errors.ErrUnsupported)
}

// Socket is for Linux only.
func (c *Context) Socket(domain, typ, protocol int) (fd int, err error) {
	return -1, unsupported("socket")
}

// Bind is for Linux only.
func (c *Context) Bind(fd int, addr netip.AddrPort) error { return unsupported("bind") }

// Connect is for Linux only.
func (c *Context) Connect(ctx context.Context, fd int, addr netip.AddrPort) error {
	return unsupported("connect")
}

// Close is for Linux only. It still releases the Context.
func (c *Context) Close(fd int) error {
	c.Release()
	return unsupported("close")
}

func setsockopt(fd, level, name int, value []byte) error { return unsupported("setsockopt") }

func getsockopt(fd, level, name int, value []byte) (n int, err error) {
	return 0, unsupported("getsockopt")
}

// Socket is for Linux only.
func (a *AddrInfo) Socket() (fd int, err error) { return -1, unsupported("socket") }

// SetSockopts is for Linux only.
func (a *AddrInfo) SetSockopts(fd int) error { return unsupported("setsockopt") }

// SimpleConnect is for Linux only.
func (a *AddrInfo) SimpleConnect(fd int) error { return unsupported("connect") }

// SimpleConnectNonblock is for Linux only.
func (a *AddrInfo) SimpleConnectNonblock(fd int) (inProgress bool, err error) {
	return false, unsupported("connect")
}
