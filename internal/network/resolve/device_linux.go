package resolve

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToDevice confines a socket to an interface (socket(7), SO_BINDTODEVICE).
func bindToDevice(c syscall.RawConn, device string) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("binding to device %s: %w", device, err)
	}
	return nil
}
