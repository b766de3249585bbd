package placement

import (
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// makeStream answers a call of socket(2) for TCP with a Multipath TCP socket: the
// program uses it like the other, and talks plain TCP with servers that know no
// better (RFC 8684). It is made for the program here, since a call's arguments
// cannot be changed. Where that fails the program makes its own. So do programs of
// another user, network namespace or control group, as those in a sandbox: the socket
// would have this process's rights and ways out.
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
	// What is blocking or not goes with the socket, what is closed on execution
	// with the descriptor.
	err = l.Return(c, fd, typ&unix.SOCK_CLOEXEC != 0)
	_ = unix.Close(fd)
	if err != nil {
		_ = l.Continue(c)
	}
}
