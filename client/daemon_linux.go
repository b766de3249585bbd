package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// serviceUser is the user that an installed daemon runs as.
const serviceUser = "mamma"

// dialDaemon connects to the request socket.
func (d *Daemon) dialDaemon(ctx context.Context) (net.Conn, error) {
	path, err := d.findSocket(os.Getenv)
	if err != nil {
		return nil, err
	}
	nc, err := connect(ctx, path)
	if err != nil {
		return nil, err
	}
	// The socket file may have been replaced since its owner was checked, so the peer
	// is checked as well.
	if err := checkPeer(nc.(*net.UnixConn)); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return nc, nil
}

// busyPause is the wait before connecting again to a socket whose queue was full.
const busyPause = time.Millisecond

// connect connects to the socket. Where its queue is full, it waits for a place, as
// connect(2) does: package net does not, and a daemon that many programs ask at once would
// be taken for one that fails. The end of the wait is an error as of any answer that is late.
func connect(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.EAGAIN) {
			return nc, err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the queue of %s is full", ctx.Err(), path)
		}
	}
}

// findSocket returns the path of the request socket.
func (d *Daemon) findSocket(getenv func(string) string) (string, error) {
	if d.Path != "" {
		return firstSocket([]string{d.Path})
	}
	return firstSocket(socketPaths(getenv))
}

// firstSocket returns the first of the paths at which there is a socket of a trusted user. What
// else is at a path does not hide the ones after it. If there is none, the error is about the
// first path that is not simply missing.
func firstSocket(paths []string) (string, error) {
	var odd error
	for _, path := range paths {
		err := checkSocket(path)
		if err == nil {
			return path, nil
		}
		if odd == nil && !errors.Is(err, fs.ErrNotExist) {
			odd = err
		}
	}
	if odd != nil {
		return "", odd
	}
	return "", fmt.Errorf("no socket at %s: %w", strings.Join(paths, " or "), fs.ErrNotExist)
}

// checkSocket returns an error unless there is a socket of a trusted user.
func checkSocket(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: not a socket", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && !trusted(st.Uid) {
		return fmt.Errorf("%s: belongs to user %d, who is not trusted", path, st.Uid)
	}
	return nil
}

// socketPaths lists where to look. Below the directory for temporary files anybody could have
// made the directory, to keep this user's programs from the system's daemon.
func socketPaths(getenv func(string) string) []string {
	if path := getenv("MAMMA_SOCKET"); path != "" {
		return []string{path}
	}
	const name = "mamma/mamma.sock"
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return []string{filepath.Join(dir, name), "/run/" + name}
	}
	if own := filepath.Join(os.TempDir(), fmt.Sprintf("mamma-%d", os.Geteuid())); userid.OwnDir(own) {
		return []string{filepath.Join(own, "mamma.sock"), "/run/" + name}
	}
	return []string{"/run/" + name}
}

// checkPeer refuses a daemon of an untrusted user.
func checkPeer(nc *net.UnixConn) error {
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return fmt.Errorf("peer credentials: %w", credErr)
	}
	if !trusted(cred.Uid) {
		return fmt.Errorf("user %d listens there, who is not trusted", cred.Uid)
	}
	return nil
}

// trusted tells whether a daemon of this user may learn where this program connects to.
func trusted(uid uint32) bool {
	if userid.Trusted(uid) {
		return true
	}
	u, err := user.Lookup(serviceUser)
	return err == nil && u.Uid == strconv.FormatUint(uint64(uid), 10)
}
