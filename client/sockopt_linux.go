package client

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/wire"
)

// applyOptions sets the suggested options on a socket that is not bound yet. An option
// that cannot be set is an error unless it is optional
// (doc/original/client-and-socks.md 7.4 and defect 15).
func applyOptions(raw syscall.RawConn, bind bool, options []wire.SockOpt) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		if bind {
			// With this option the kernel chooses the port at the time of the connect,
			// when it has to be unique only per destination (ip(7), Linux 4.2). Without
			// the option everything works the same until ports run out, so an error is
			// ignored.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
		for _, o := range options {
			err := unix.SetsockoptString(int(fd), int(o.Level), int(o.Name), string(o.Value))
			if err != nil && o.Flags&wire.SockOptOptional == 0 {
				failed = fmt.Errorf("suggested option %d at level %d: %w", o.Name, o.Level, os.NewSyscallError("setsockopt", err))
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}
