//go:build !linux

package client

import (
	"context"
	"errors"
	"net"
	"sync"
)

func bindToDevice(*net.UDPConn, string) error { return errors.ErrUnsupported }

func watchAddresses(context.Context, *sync.WaitGroup) <-chan struct{} { return nil }
