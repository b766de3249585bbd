//go:build !linux

package client

import (
	"syscall"

	"github.com/socket-intents/mamma/internal/wire"
)

// applyOptions does nothing: nobody suggests options here.
func applyOptions(syscall.RawConn, bool, []wire.SockOpt) error { return nil }
