//go:build !linux

package client

import (
	"syscall"

	"github.com/socket-intents/mamma/internal/wire"
)

// applyOptions does nothing: on this system no manager suggests options.
func applyOptions(syscall.RawConn, bool, []wire.SockOpt) error { return nil }
