package placement

import "golang.org/x/sys/unix"

// older are the calls among resumed that newer architectures do not have.
var older = []int64{unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_EPOLL_WAIT, unix.SYS_PAUSE}
