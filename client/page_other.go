//go:build !linux

package client

import (
	"net"

	"github.com/socket-intents/mamma/internal/generation"
)

// pageReader reads from a connection to the manager. There is no page to share here.
type pageReader struct {
	nc    net.Conn
	plain bool
	page  *generation.Page
}

func (r *pageReader) Read(b []byte) (int, error) { return r.nc.Read(b) }

// hungUp is not known here.
func hungUp(net.Conn) bool { return false }
