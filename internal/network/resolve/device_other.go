//go:build !linux

package resolve

import (
	"errors"
	"fmt"
	"syscall"
)

// bindToDevice fails: only Linux confines a socket to an interface by name.
func bindToDevice(_ syscall.RawConn, device string) error {
	return fmt.Errorf("binding to device %s: %w", device, errors.ErrUnsupported)
}
