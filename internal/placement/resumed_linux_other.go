//go:build linux && !amd64

package placement

import "golang.org/x/sys/unix"

// resumed are the calls that wait for sockets and go on by themselves after an
// interruption without a signal handler, with the time that is left. epoll_wait(2) is
// none of them (signal(7)).
var resumed = []int64{unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_RESTART_SYSCALL}
