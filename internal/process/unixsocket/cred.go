package unixsocket

import (
	"fmt"
	"net"

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
