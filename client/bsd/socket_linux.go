package bsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/internal/raw"
	"github.com/socket-intents/mamma/internal/wire"
)

// Socket makes a socket, with close-on-exec always set; typ may contain SOCK_NONBLOCK.
func (c *Context) Socket(domain, typ, protocol int) (fd int, err error) {
	fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		fd, err = -1, os.NewSyscallError("socket", err)
	}
	if c == nil {
		return fd, err
	}
	st := c.use()
	defer c.mu.Unlock()
	st.Calls |= wire.CallSocket
	st.Domain, st.Type, st.Protocol = int32(domain), int32(typ&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)), int32(protocol)
	if err == nil {
		st.FD = int32(fd)
		st.Inode = inode(fd)
	}
	return fd, err
}

// inode returns the inode number of a socket, 0 if it is unknown.
func inode(fd int) uint64 {
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return 0
	}
	return s.Ino
}

// Bind binds a socket to an address that the application chose. The manager then
// suggests no other address.
func (c *Context) Bind(fd int, addr netip.AddrPort) error {
	err := bind(fd, addr)
	if c == nil {
		return err
	}
	st := c.use()
	defer c.mu.Unlock()
	st.Calls |= wire.CallBind
	if err == nil {
		st.BindRequested = sockAddr(addr)
	}
	return err
}

// Connect connects a socket as the manager suggests. It asks the manager, binds the
// socket to the suggested address unless Bind was called, sets the suggested options,
// and connects. A suggestion that fails is skipped. errors.Is finds client.ErrRefused
// in two cases: the policy refuses the connection, or the policy permits only its
// suggestion and the socket cannot be bound to it. ctx bounds only the question to the
// manager. A blocking socket connects for as long as the system allows, and a
// non-blocking one returns EINPROGRESS.
func (c *Context) Connect(ctx context.Context, fd int, addr netip.AddrPort) error {
	if !addr.IsValid() {
		return os.NewSyscallError("connect", unix.EFAULT)
	}
	if err := unrestricted(ctx); err != nil {
		return err
	}
	if c == nil {
		return connect(fd, addr)
	}
	st := c.use()
	st.Calls |= wire.CallConnect
	st.Remote = sockAddr(addr)
	st.Domain = int32(familyOf(addr.Addr()))
	req, daemon := c.requestLocked(wire.ActionConnectRequest), c.daemonLocked()
	c.mu.Unlock()

	var ans wire.Message
	if err := raw.Of(daemon).Exchange(ctx, req, &ans); err != nil || ans.Action != wire.ActionConnectResponse {
		return connect(fd, addr)
	}
	if ans.Only&wire.OnlyNone != 0 {
		return refused(&ans)
	}
	only := ans.Only != 0
	said := ans.Context.Clone()
	if r := said.Remote.AddrPort; r.IsValid() {
		addr = r // the manager may name another address
	}
	st = c.use()
	st.BindSuggested, st.OptionsSuggested, st.Remote = said.BindSuggested, said.OptionsSuggested, sockAddr(addr)
	bound := st.BindRequested.IsValid()
	c.mu.Unlock()

	source := said.BindSuggested.AddrPort
	// To reach this host itself the socket must not be bound to a network: the connect
	// would time out.
	apart := addr.Addr().Unmap().IsLoopback() && !source.Addr().Unmap().IsLoopback()
	if source.IsValid() && !bound && !apart {
		bindSource(fd, source.Addr())
	}
	for _, o := range said.OptionsSuggested {
		device := o.Level == wire.SolSocket && o.Name == wire.SoBindToDevice
		if o.Level == SolIntents || apart && device {
			continue
		}
		if err := setsockopt(fd, int(o.Level), int(o.Name), o.Value); err != nil && device && only {
			return fmt.Errorf("%w: the socket cannot be bound to the only permitted network: %w", client.ErrRefused, err)
		}
	}
	begun := time.Now()
	err := connect(fd, addr)
	if !errors.Is(err, unix.EINPROGRESS) && req.Context.Type == unix.SOCK_STREAM {
		raw.Of(daemon).Report(&ans, time.Since(begun), err, localPort(fd))
	}
	return err
}

// Close closes a socket and releases the Context.
func (c *Context) Close(fd int) error {
	err := os.NewSyscallError("close", unix.Close(fd))
	if c == nil {
		return err
	}
	c.mu.Lock()
	if c.users > 0 {
		c.state.Calls |= wire.CallClose
	}
	c.mu.Unlock()
	c.Release()
	return err
}

func setsockopt(fd, level, name int, value []byte) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptString(fd, level, name, string(value)))
}

// getsockopt reads any option. It exists because package unix has functions for known
// options only.
func getsockopt(fd, level, name int, value []byte) (n int, err error) {
	size := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	return int(size), nil
}

func bind(fd int, addr netip.AddrPort) error {
	sa, err := sockaddr(addr)
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	return os.NewSyscallError("bind", err)
}

// bindSource tries to bind a socket to a suggested address. A failure is ignored: the
// suggestion is then skipped.
func bindSource(fd int, source netip.Addr) {
	// With this option the kernel chooses the port at the time of the connect. The port
	// then has to be unique only per destination (ip(7), since Linux 4.2).
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	_ = bind(fd, netip.AddrPortFrom(source, 0))
}

func connect(fd int, addr netip.AddrPort) error {
	sa, err := sockaddr(addr)
	if err == nil {
		err = unix.Connect(fd, sa)
	}
	if errors.Is(err, unix.EINTR) { // the connect continues in the background (connect(2))
		err = await(fd)
	}
	return os.NewSyscallError("connect", err)
}

// await waits until a connecting socket is connected or has failed.
func await(fd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		return err
	}
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	switch ip := a.Addr(); {
	case ip.Is4():
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, nil
	case ip.Is6():
		sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
		if zone := ip.Zone(); zone != "" {
			n, err := zoneIndex(zone)
			if err != nil {
				return nil, err
			}
			sa.ZoneId = n
		}
		return sa, nil
	}
	return nil, unix.EFAULT
}

func localPort(fd int) uint16 {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port)
	case *unix.SockaddrInet6:
		return uint16(sa.Port)
	}
	return 0
}

// Socket makes a blocking socket for the result, with its protocol. If the kernel has no
// Multipath TCP, the socket is a plain TCP socket.
func (a *AddrInfo) Socket() (fd int, err error) {
	typ := a.Type | unix.SOCK_CLOEXEC
	fd, err = unix.Socket(a.Family, typ, a.Protocol)
	if err != nil && a.Protocol == ProtoMPTCP {
		fd, err = unix.Socket(a.Family, typ, ProtoTCP)
	}
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// SetSockopts sets the options of the result, in their order. It returns an error if an
// option fails that is not marked optional. An option of level SolIntents always fails,
// because the kernel does not know that level.
func (a *AddrInfo) SetSockopts(fd int) error {
	for _, o := range a.Options {
		if o.Level == SolIntents {
			return os.NewSyscallError("setsockopt", unix.ENOPROTOOPT)
		}
		if err := setsockopt(fd, o.Level, o.Name, o.Value); err != nil && !o.Optional {
			return err
		}
	}
	return nil
}

// SimpleConnect binds fd to the result's address if it has one, sets its options
// and connects it. On a non-blocking socket it returns EINPROGRESS.
func (a *AddrInfo) SimpleConnect(fd int) error {
	if a.Bind.IsValid() {
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // as in bindSource
		if err := bind(fd, netip.AddrPortFrom(a.Bind, 0)); err != nil {
			return err
		}
	}
	if err := a.SetSockopts(fd); err != nil {
		return err
	}
	return connect(fd, a.Addr)
}

// SimpleConnectNonblock makes fd non-blocking, and then does what SimpleConnect does.
// After EINPROGRESS, fd becomes writable when it is connected or has failed; SO_ERROR
// tells which.
func (a *AddrInfo) SimpleConnectNonblock(fd int) (inProgress bool, err error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return false, os.NewSyscallError("fcntl", err)
	}
	err = a.SimpleConnect(fd)
	if errors.Is(err, unix.EINPROGRESS) {
		return true, nil
	}
	return false, err
}

func zoneIndex(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(i.Index), nil
}
