package placement

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// holdsAlready checks the sockets that a process has before it becomes a program from
// which something is required. Nobody has decided about the destination that they are
// connected to.
func (p *placer) holdsAlready(o *Options, pid int) error {
	s, err := newGuest(*o, p.say)
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	th := &thread{tid: uint32(pid), pidfd: pidfd, name: -1}
	defer th.close()
	who, err := th.caller()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		own, err := th.descriptor(fd)
		if errors.Is(err, unix.EBADF) { // closed meanwhile
			continue
		}
		if err == nil {
			err = p.checkHanded(&reached{p: p, who: who, options: s, socket: socket{fd: own}})
		}
		if err != nil {
			return fmt.Errorf("what is required cannot be ensured for descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// checkHanded checks a socket that a program begins with, and closes this process's copy.
func (p *placer) checkHanded(r *reached) (err error) {
	defer r.close()
	if ring(r.socket.fd) {
		return errRing
	}
	if r.socket, err = inspect(r.socket.fd); err != nil {
		if errors.Is(err, errNoSocket) {
			return nil
		}
		return err
	}
	peer, err := unix.Getpeername(r.socket.fd)
	switch {
	case err != nil && !r.socket.closed && tcpState(r.socket.fd) != tcpListen:
		return errors.New("it is about to be connected")
	case err != nil:
		return nil //nolint:nilerr // not connected: it will be looked at when it is
	}
	dest := localOf(peer)
	if here(dest.Addr()) {
		return nil
	}
	if _, err := r.settle(dest, origin{}); err != nil {
		return fmt.Errorf("it is connected to %v: %w", dest, err)
	}
	return nil
}

// errRing is about a ring of io_uring. The program makes none, but it could use one that it
// was started with: the kernel may look into it without any call (IORING_SETUP_SQPOLL).
var errRing = errors.New("it is a ring of io_uring, and nobody sees what is sent by it")

// ring tells whether a descriptor of this process is a ring of io_uring.
func ring(fd int) bool {
	link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && link == "anon_inode:[io_uring]"
}

// open refuses sockets that cannot be held where that is required.
func (p *placer) open(c notify.Call) error {
	if !p.holding() {
		return nil
	}
	family, typ, protocol, err := kindOf(c)
	if err == nil && local(family) {
		return nil
	}
	who, callerErr := readCaller(c.PID)
	o := p.optionsOf(who)
	if !o.Require {
		return nil
	}
	switch {
	case errors.Join(err, callerErr) != nil:
		err = fmt.Errorf("%w: %w", errKind, errors.Join(err, callerErr))
	case c.Foreign:
		err = fmt.Errorf("%w: the program is of another architecture than mammactl", errKind)
	case placeable(family, typ, protocol) && protocol == unix.IPPROTO_MPTCP && !p.options.MPTCP:
		err = errMultipath
	case placeable(family, typ, protocol):
		return nil
	default:
		err = errKind
	}
	return &refusal{"open " + describeKind(family, typ, protocol), who, err}
}

// kindOf returns the arguments of socket(2), without the flags in the type.
func kindOf(c notify.Call) (family, typ, protocol int, err error) {
	args := [3]uint32{uint32(c.Args[0]), uint32(c.Args[1]), uint32(c.Args[2])}
	if c.Packed { // socketcall(2): the arguments lie in memory
		var b [12]byte
		if err := readMemory(c.PID, uint64(uint32(c.Args[1])), b[:]); err != nil {
			return 0, 0, 0, err
		}
		for i := range args {
			args[i] = uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24
		}
	}
	return int(int32(args[0])), int(args[1] & notify.TypeMask), int(int32(args[2])), nil
}

// describeKind returns words for the arguments of socket(2).
func describeKind(family, typ, protocol int) string {
	names := map[int]string{
		unix.IPPROTO_ICMP: "ICMP", unix.IPPROTO_ICMPV6: "ICMPv6", unix.IPPROTO_SCTP: "SCTP", unix.IPPROTO_DCCP: "DCCP",
		unix.IPPROTO_MPTCP: "MPTCP", unix.IPPROTO_TCP: "TCP", unix.IPPROTO_UDP: "UDP",
	}
	switch {
	case family == unix.AF_PACKET:
		return "a packet socket"
	case family != unix.AF_INET && family != unix.AF_INET6:
		return fmt.Sprintf("a socket of family %d", family)
	case typ == unix.SOCK_RAW:
		return "a raw socket"
	case names[protocol] != "":
		return fmt.Sprintf("a socket of %s", names[protocol])
	}
	return fmt.Sprintf("a socket of type %d and protocol %d", typ, protocol)
}

// streams tells whether the supervisor is to make the socket.
func (p *placer) streams(c notify.Call) bool {
	family, typ, protocol, err := kindOf(c)
	return p.options.MPTCP && !c.Foreign && err == nil && typ == unix.SOCK_STREAM && (protocol == 0 || protocol == unix.IPPROTO_TCP) &&
		placeable(family, typ, protocol)
}

// option refuses options by which what was decided about would leave elsewhere, or the
// kernel would send something itself. An option that was set before counts in the decision.
func (p *placer) option(from *receiving, c notify.Call) error {
	if !p.holding() {
		return nil
	}
	r, err := p.reach(from, c, int(int32(c.Args[0])))
	defer r.close()
	if !r.options.Require || errors.Is(err, errNoSocket) || errors.Is(err, errOver) {
		return nil
	}
	act, why := "set a socket's option", err
	if err == nil {
		act, why = r.changes(c)
	}
	if why == nil {
		return nil
	}
	if !errors.Is(why, errGroup) {
		why = fmt.Errorf("%w: %w", errMoves, why)
	}
	return &refusal{act, r.who, why}
}

// errDecided says why an option is refused.
var errDecided = errors.New("what it is connected to was decided on before")

// changes tells why a call must not set its option, and what the option is; nil: it may.
func (r *reached) changes(c notify.Call) (act string, why error) {
	at, size := c.Args[3], uint64(uint32(c.Args[4]))
	switch level, name := int(int32(c.Args[1])), int(int32(c.Args[2])); {
	case level == unix.SOL_SOCKET && name == unix.SO_MARK, level == unix.IPPROTO_IPV6 && name == unix.IPV6_PKTINFO:
		// The kernel does not tell a socket's IPV6_PKTINFO, so it cannot be looked at later.
		zero, err := isZero(c.PID, at, size)
		if err == nil && !zero {
			err = errDecided
		}
		return "set SO_MARK or IPV6_PKTINFO", err
	case level == unix.IPPROTO_IP && name == unix.IP_OPTIONS:
		b := make([]byte, min(size, maxOption))
		if len(b) == 0 {
			return "", nil
		}
		err := readMemory(c.PID, at, b)
		if err == nil && sourceRoute(b) {
			err = errRouted
		}
		return "set IP_OPTIONS", err
	case level == unix.IPPROTO_IPV6 && name == notify.IPv6FlowLabelMgr && size <= flowLabelRequest:
		return "", nil // without options
	case level == unix.IPPROTO_IPV6 && (name == unix.IPV6_RTHDR || name == notify.IPv6PktOptions2292 || name == notify.IPv6FlowLabelMgr):
		if at == 0 || size == 0 {
			return "", nil
		}
		return "set IPV6_RTHDR, or an option that may have one", errRouted
	case level != unix.SOL_SOCKET && name != unix.IP_UNICAST_IF && name != unix.IPV6_UNICAST_IF:
		return "join a group", errGroup
	}
	_, known := r.p.known(r.socket.cookie)
	if _, err := unix.Getpeername(r.socket.fd); err != nil && !known {
		return "", nil
	}
	return "bind its socket to an interface", errDecided
}

// flowLabelRequest is the size of struct in6_flowlabel_req (linux/in6.h), behind which
// options may follow.
const flowLabelRequest = 32

// maxOption is more than any option has that is looked at, in bytes.
const maxOption = 64

// isZero tells whether there are only zeros at an address of a thread's memory.
func isZero(tid uint32, at, size uint64) (bool, error) {
	if at == 0 || size == 0 {
		return true, nil
	}
	b := make([]byte, min(size, maxOption))
	if err := readMemory(tid, at, b); err != nil {
		return false, err
	}
	for _, v := range b {
		if v != 0 {
			return false, nil
		}
	}
	return true, nil
}
