package placement

import (
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// makeStream answers a call of socket(2) for TCP with a Multipath TCP socket. The
// program uses it as it uses a TCP socket. With servers that do not speak MPTCP, the
// socket falls back to TCP (RFC 8684). The supervisor makes the socket, because the
// arguments of the program's call cannot be changed. In two cases the call simply goes
// on: if that fails, and if the program has another user, network namespace or control
// group, as in a sandbox. In a sandbox, the socket would have the supervisor's rights
// and routes.
func (p *placer) makeStream(l *notify.Listener, c notify.Call) {
	if !p.makesAs(c) {
		_ = l.Continue(c)
		return
	}
	typ := int(int32(c.Args[1]))
	fd, err := unix.Socket(int(int32(c.Args[0])), typ|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		p.say.once("mptcp", "sockets stay plain TCP: this kernel makes no Multipath TCP: %v", err)
		_ = l.Continue(c)
		return
	}
	// Blocking is a property of the socket, but close-on-exec one of the descriptor, so
	// it must be given here.
	err = l.Return(c, fd, typ&unix.SOCK_CLOEXEC != 0)
	_ = unix.Close(fd)
	if err != nil {
		_ = l.Continue(c)
	}
}
