package unixsocket

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cred says who is at the other end of a connection. The kernel noted it when the
// connection was made (SO_PEERCRED, unix(7)).
type Cred struct {
	PID      int32
	UID, GID uint32
}

// PeerCred asks the kernel for the credentials of c's peer.
func PeerCred(c *net.UnixConn) (Cred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Cred{}, fmt.Errorf("peer credentials: %w", err)
	}
	var u *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		u, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Cred{}, fmt.Errorf("peer credentials: %w", err)
	}
	if optErr != nil {
		return Cred{}, fmt.Errorf("peer credentials: %w", optErr)
	}
	return Cred{PID: u.Pid, UID: u.Uid, GID: u.Gid}, nil
}

// errPeerGone means that the process at the other end is gone, or is not in this process's
// pid namespace.
var errPeerGone = errors.New("the peer's process is gone")

// CheckPeerID returns nil if the process that has connected still has the id of PeerCred. An
// id that was read before is then that process's. Without this, it may be another's, because ids
// are used again. The kernel must have SO_PEERPIDFD (Linux 6.5): with an older one, the error wraps
// errors.ErrUnsupported.
func CheckPeerID(c *net.UnixConn, pid int32) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("peer process: %w", err)
	}
	var text []byte
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		var pidfd int
		if pidfd, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); optErr != nil {
			return
		}
		defer func() { _ = unix.Close(pidfd) }()
		text, optErr = os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	}); err != nil {
		return fmt.Errorf("peer process: %w", err)
	}
	if errors.Is(optErr, unix.ENOPROTOOPT) {
		return fmt.Errorf("peer process: the kernel has no SO_PEERPIDFD (Linux 6.5): %w", errors.ErrUnsupported)
	}
	if optErr != nil {
		return fmt.Errorf("peer process: %w", optErr)
	}
	for line := range bytes.Lines(text) {
		// The value is -1 for a process that is gone, and 0 for one of another namespace (pidfd_open(2)).
		if value, ok := bytes.CutPrefix(line, []byte("Pid:")); ok && pid > 0 && string(bytes.TrimSpace(value)) == strconv.Itoa(int(pid)) {
			return nil
		}
	}
	return errPeerGone
}
