package placement

import "golang.org/x/sys/unix"

// resumed are the calls that wait and go on by themselves after an interruption without a
// signal handler, with the time that is left (signal(7)). The variants of epoll_wait(2) end
// with EINTR instead, as they do after a stop and SIGCONT: programs that use them have to
// expect that.
var resumed = append([]int64{
	unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_RESTART_SYSCALL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_RT_SIGSUSPEND, unix.SYS_WAIT4, unix.SYS_WAITID,
}, older...)

// receivingCalls and sendingCalls go on as well, unless their descriptor is a socket with a
// time limit (SO_RCVTIMEO, SO_SNDTIMEO).
var (
	receivingCalls = []int64{unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG, unix.SYS_ACCEPT, unix.SYS_ACCEPT4}
	sendingCalls   = []int64{unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_CONNECT}
)
