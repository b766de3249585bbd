package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/internal/sockdiag"
	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/socks"
)

// callerOf finds the local process that has made a request's connection. If the
// proxy may not read the process's executable, only its user is known.
func callerOf(r *socks.Request) rules.Caller {
	if r.Unix {
		return peerOf(r)
	}
	uid, inode, err := socketOwner(unix.IPPROTO_TCP, r.Client, r.Listener)
	switch {
	case err == nil:
		return withProcess(uid, processWithSocket(uid, inode))
	case r.Client.Addr().IsValid() && !r.Loopback() && !isOwnAddress(r.Client.Addr()):
		return rules.Caller{Elsewhere: true}
	}
	return rules.Caller{}
}

// withProcess returns the user, with the process if that is not nil. It closes the process.
func withProcess(uid uint32, p *rules.Process) rules.Caller {
	c := rules.Caller{Known: true, UID: uid}
	if p != nil {
		defer p.Close()
		c.PID, c.Executable = p.ID(), p.Executable()
		c.Doubtful = c.Executable != "" && !p.IsAt(c.Executable)
	}
	return c
}

// peerOf returns who has connected to a Unix socket. The kernel notes that at the time
// of the connect. If the process is gone, only its user is known, whoever has its id now.
func peerOf(r *socks.Request) rules.Caller {
	conn, ok := r.Conn.(*net.UnixConn)
	if !ok {
		return rules.Caller{}
	}
	cred, err := unixsocket.PeerCred(conn)
	if err != nil || !userid.Known(cred.UID) {
		return rules.Caller{}
	}
	p := processOf(cred.UID, int(cred.PID))
	if p != nil && unixsocket.CheckPeerID(conn, cred.PID) != nil { // asked after it was opened
		p.Close()
		p = nil
	}
	return withProcess(cred.UID, p)
}

// processOf opens the process that has an id now, if it belongs to the user. Otherwise it
// returns nil.
func processOf(uid uint32, pid int) *rules.Process {
	p, err := rules.OpenProcess(pid)
	if err != nil {
		return nil
	}
	if owner, ok := p.Owner(); !ok || owner != uid {
		p.Close()
		return nil
	}
	return p
}

// isOwnAddress tells whether this host has the address. If the interfaces cannot be
// listed, the answer is true.
func isOwnAddress(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		own, _ := netip.AddrFromSlice(n.IP)
		return ok && own.Unmap() == ip.Unmap().WithZone("")
	})
}

// errSeveral is about an address that sockets of several users may send from, as
// SO_REUSEADDR permits. Which of them has sent a datagram cannot be known.
var errSeveral = errors.New("sockets of several users have the port")

// sharedEvery is how often all sockets of a client's port are looked at, which takes up
// to milliseconds. In between, only the one that would get an answer is.
const sharedEvery = time.Second

// senders finds the users whose datagrams come from addresses of this host. The zero
// value is ready. It is safe for concurrent use.
type senders struct {
	mu   sync.Mutex
	conn *sockdiag.Conn // nil: none is open
}

// portOwner is a socket that was found to have a port that no socket of another user has.
type portOwner struct {
	from   netip.AddrPort
	cookie uint64
	looked time.Time // when all sockets of the port were looked at
}

// of returns the user whose socket sends from one address to another. All sockets that
// can send from there have to be that user's. last is what was found for the same
// client before.
//
// If the port belongs to the same socket as before, no other user can have had it
// meanwhile, unless the socket shares it (SO_REUSEADDR): others are seen after
// sharedEvery at the latest.
//
// A socket with the same port at another address can send from this one, too (IP_PKTINFO).
// Such sockets do not count: one that is closed after it has sent would not be seen, and one
// that stays would only shut the client out.
func (s *senders) of(from, to netip.AddrPort, last *portOwner) (uint32, error) {
	conn, err := s.open()
	if err != nil {
		return 0, err
	}
	from, to = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	now := time.Now() // before the question, so that a change during it is seen the next time
	one, err := conn.Get(unix.IPPROTO_UDP, from, to, sockdiag.AnyCookie)
	switch {
	case errors.Is(err, sockdiag.ErrNotFound): // as for a socket that is bound to a device
		one = sockdiag.Socket{}
	case err != nil:
		s.drop(conn)
		return 0, err
	case one.Inode == 0:
		return 0, errNoOwner
	case !userid.Known(one.UID):
		return 0, errOutside
	case last.from == from && last.cookie == one.Cookie && now.Sub(last.looked) < sharedEvery:
		return one.UID, nil
	}
	*last = portOwner{}
	list, err := conn.Bound(unix.IPPROTO_UDP, from.Port())
	if err != nil {
		s.drop(conn)
		return 0, err
	}
	uid, err := onlyOwner(list, from)
	if err == nil && one.Inode != 0 {
		if uid != one.UID {
			return 0, errSeveral
		}
		*last = portOwner{from, one.Cookie, now}
	}
	return uid, err
}

// open returns a connection to the kernel.
func (s *senders) open() (conn *sockdiag.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		s.conn, err = sockdiag.Dial()
	}
	return s.conn, err
}

// drop closes a connection on which something went wrong.
func (s *senders) drop(conn *sockdiag.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		_ = conn.Close()
		s.conn = nil
	}
}

// close closes the connection. A later use opens another one.
func (s *senders) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// onlyOwner returns the user to whom all those sockets of a list belong that can send from
// an address. To ask the kernel about the address is not enough: it names only the socket
// that would get an answer, and another user's connected socket may have sent.
func onlyOwner(list []sockdiag.Bound, from netip.AddrPort) (uid uint32, err error) {
	found := false
	for _, s := range list {
		if local := s.Local.Unmap(); !local.IsUnspecified() && local != from.Addr().Unmap().WithZone("") {
			continue
		}
		switch {
		case s.Inode == 0:
			return 0, errNoOwner
		case !userid.Known(s.UID):
			return 0, errOutside
		case found && s.UID != uid:
			return 0, errSeveral
		}
		uid, found = s.UID, true
	}
	if !found {
		return 0, sockdiag.ErrNotFound
	}
	return uid, nil
}

// errNoOwner is about a socket that its process has closed. For a while the kernel
// keeps such a socket without an owner. It then shows the user id 0, which is root's.
var errNoOwner = errors.New("the socket has no owner any more")

// errOutside is about a socket of a user without an id in the proxy's user namespace.
// The kernel does not tell such users apart.
var errOutside = errors.New("the socket's user has no id in this user namespace")

// socketOwner asks the kernel who owns a socket of this host.
func socketOwner(protocol byte, local, remote netip.AddrPort) (uid, inode uint32, err error) {
	conn, err := sockdiag.Dial()
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	s, err := conn.Get(protocol, local, remote, sockdiag.AnyCookie)
	switch {
	case err != nil:
		return 0, 0, err
	case s.Inode == 0:
		return 0, 0, errNoOwner
	case !userid.Known(s.UID):
		return 0, 0, errOutside
	}
	return s.UID, s.Inode, nil
}

// processWithSocket looks through the user's processes for the one that has
// the socket open (proc_pid_fd(5)). It returns nil if there is none.
func processWithSocket(uid, inode uint32) *rules.Process {
	want := fmt.Sprintf("socket:[%d]", inode)
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, p := range procs {
		if pid, err := strconv.Atoi(p.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	for _, pid := range slices.Backward(pids) { // the newest first: programs that have just started connect most
		p := processOf(uid, pid)
		if p == nil {
			continue
		}
		if hasOpen(p, want) {
			return p
		}
		p.Close()
	}
	return nil
}

// hasOpen tells whether a process has a file open.
func hasOpen(p *rules.Process, want string) bool {
	dir := p.Path("fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		link, err := os.Readlink(filepath.Join(dir, fd.Name()))
		return err == nil && link == want
	})
}
