//go:build !linux

package client

import (
	"context"
	"errors"
	"net"
	"sync"
)

// bindToDevice binds a socket to an interface on Linux only.
func bindToDevice(*net.UDPConn, string) error { return errors.ErrUnsupported }

// watchAddresses reports changes of addresses on Linux only. Nothing is ever received from
// the nil channel.
func watchAddresses(context.Context, *sync.WaitGroup) <-chan struct{} { return nil }
