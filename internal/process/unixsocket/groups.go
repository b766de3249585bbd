package unixsocket

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxGroups is the kernel's NGROUPS_MAX, the most groups a process can have.
const maxGroups = 65536

// PeerGroups asks the kernel for the supplementary groups of c's peer. The kernel noted
// them when the connection was made (SO_PEERGROUPS, since Linux 4.13). The primary
// group is in PeerCred.
//
// Reading /proc would not do instead, because the process id may belong to another
// process by now. The user database would tell the groups that the user can have, not
// those that the process has.
//
// An error that wraps errors.ErrUnsupported means that the kernel is too old.
func PeerGroups(c *net.UnixConn) ([]uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("peer groups: %w", err)
	}
	var groups []uint32
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) {
		groups = make([]uint32, 32)
		for {
			size := uint32(4 * len(groups))
			//nolint:gosec // x/sys has no wrapper for this option
			_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
				uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
			if n := int(size / 4); errno == unix.ERANGE && n > len(groups) && n <= maxGroups {
				groups = make([]uint32, n) // the kernel has set size to the size that it needs
				continue
			}
			groups = groups[:min(int(size/4), len(groups))]
			return
		}
	}); err != nil {
		return nil, fmt.Errorf("peer groups: %w", err)
	}
	switch errno {
	case 0:
		return groups, nil
	case unix.ENOPROTOOPT:
		return nil, fmt.Errorf("peer groups: the kernel has no SO_PEERGROUPS (Linux 4.13): %w", errors.ErrUnsupported)
	}
	return nil, fmt.Errorf("peer groups: %w", errno)
}
