//go:build !linux

package client

import (
	"context"
	"errors"
	"net"
	"runtime"
)

// dialDaemon always fails: the Multi Access Manager runs on Linux only.
func (d *Daemon) dialDaemon(context.Context) (net.Conn, error) {
	return nil, errors.New("there is no Multi Access Manager on " + runtime.GOOS)
}
