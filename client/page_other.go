//go:build !linux

package client

import (
	"net"

	"github.com/socket-intents/mamma/internal/generation"
)

// pageReader reads from a connection to the manager. On this system it takes no page.
type pageReader struct {
	nc    net.Conn
	plain bool
	page  *generation.Page
}

func (r *pageReader) Read(b []byte) (int, error) { return r.nc.Read(b) }

// hungUp cannot tell on this system, and always returns false.
func hungUp(net.Conn) bool { return false }
