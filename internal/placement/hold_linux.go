package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

// With Options.Require nothing leaves by another network than the one that the manager
// has chosen. The functions below are about sockets and calls that are left alone
// otherwise.

// refusal is the reason for refusing a call.
type refusal struct {
	act string // what the program may not do
	who caller
	why error
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%q[%d] may not %s: %v", r.who.command, r.who.pid, r.act, r.why)
}

func (r *refusal) Unwrap() error { return r.why }

// errno returns the error of the program's call. EACCES means that the policy has
// refused the connection (connect(2)), or that a kind of sockets is not permitted
// (socket(2)). EPERM is for socket options (setsockopt(2)). EPROTONOSUPPORT is for
// Multipath TCP; programs then use TCP. Everything else is ENETUNREACH.
func (r *refusal) errno() unix.Errno {
	switch {
	case errors.Is(r.why, client.ErrRefused), errors.Is(r.why, errKind):
		return unix.EACCES
	case errors.Is(r.why, errMoves), errors.Is(r.why, errGroup):
		return unix.EPERM
	case errors.Is(r.why, errMultipath):
		return unix.EPROTONOSUPPORT
	}
	return unix.ENETUNREACH
}

// said tells whether the person at the terminal is told. Programs that use Multipath TCP
// by themselves go on without it, as on a kernel that has none.
func (r *refusal) said() bool { return !errors.Is(r.why, errMultipath) }

var (
	errMoves     = errors.New("its connections would leave by another network")
	errMultipath = errors.New("the kernel would open subflows over other networks")
	errNear      = errors.New("nobody decides about link-local, multicast and broadcast destinations")
	errElsewhere = errors.New("the socket is of another network namespace")
	errMarked    = errors.New("marks (SO_MARK) select routes that nobody has decided on")
	errRouted    = errors.New("its source route leads by hosts that nobody has decided on")
	errGroup     = errors.New("the kernel would tell the routers of a network that nobody has decided on")
)

// matters tells whether a call sends something that is to be placed, or held.
func (w *wish) matters(holding bool) bool {
	return slices.ContainsFunc(w.parts, func(part sending) bool {
		a := part.dest.Addr().Unmap()
		return holding || far(a) && part.from == (origin{})
	})
}

// dest returns the call's first destination, without the form of IPv4 in IPv6. It is
// invalid if none is known.
func (w *wish) dest() netip.AddrPort {
	for _, part := range w.parts {
		if part.dest.IsValid() {
			return unmap(part.dest)
		}
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// here tells whether an address means this host wherever it is used.
func here(a netip.Addr) bool { a = a.Unmap(); return a.IsLoopback() || a.IsUnspecified() }

// agreed is a use of a socket that was decided about: it goes to a destination, and
// leaves this host as it says.
type agreed struct {
	cookie uint64
	dest   netip.AddrPort
	place
}

// place is where a socket, or a message, leaves this host. The zero value says nothing.
type place struct {
	source netip.Addr
	device string
}

// hold places the socket for each of the call's destinations, or refuses the call. kind
// is the error if the socket is of a kind that is not placed.
func (r *reached) hold(w wish, kind error) error {
	for _, part := range w.parts {
		if err := r.holdPart(part, kind); err != nil {
			return err
		}
	}
	return nil
}

func (r *reached) holdPart(part sending, kind error) error {
	s, dest := &r.socket, unmap(part.dest)
	switch {
	case part.bare && s.v6: // no destination
		dest = netip.AddrPort{}
		if part.from == (origin{}) {
			return nil
		}
	case kind == nil && !s.closed:
		return nil // connected by TCP already, and listening sockets
	}
	if !dest.IsValid() {
		peer, err := unix.Getpeername(s.fd)
		if err != nil {
			return nil //nolint:nilerr // the kernel refuses to send without a destination
		}
		dest = localOf(peer)
	}
	if here(dest.Addr()) {
		if err := s.stays(part.from); err != nil {
			return r.options.unplaced(dest, r.who, err)
		}
		return nil
	}
	if kind != nil {
		return r.options.unplaced(dest, r.who, kind)
	}
	begun := time.Now()
	ch, err := r.settle(dest, part.from)
	if err != nil {
		return r.unplaced(dest, err)
	}
	if ch != nil {
		r.placed(dest, ch, begun)
	}
	return nil
}

// settle makes sure that what the socket sends to a destination leaves by the network
// that the manager chooses. It returns the manager's choice if it was asked.
func (r *reached) settle(dest netip.AddrPort, from origin) (*choice, error) {
	p, s := r.p, &r.socket
	switch {
	case !far(dest.Addr()):
		return nil, errNear
	case s.netns != p.netns:
		return nil, errElsewhere
	}
	at, err := s.place(from)
	if err != nil {
		return nil, err
	}
	if p.agreed(agreed{s.cookie, dest, at}) {
		return nil, nil
	}
	ch, err := r.decide(dest)
	if err != nil {
		return nil, err
	}
	before, _ := p.known(s.cookie)
	if from == (origin{}) && s.device == "" && !fixed(s.source.Addr()) {
		if err := r.bind(ch); err != nil {
			return nil, err
		}
		before = true
	}
	if at, err = s.place(from); err != nil {
		return nil, err
	}
	on, err := ch.permits(at, dest.Addr(), before)
	if err != nil {
		return nil, err
	}
	if on.device != "" && s.device == "" && from.index == 0 { // the source address is not enough there
		if err := s.bindDevice(on.device); err != nil {
			return nil, err
		}
		at.device, s.device = on.device, on.device
	}
	p.note(s.cookie, before)
	p.agree(agreed{s.cookie, dest, at})
	return ch, nil
}

// bind binds the socket as decided, and finds out what it is bound to then.
func (r *reached) bind(ch *choice) error {
	s, how := &r.socket, bySource
	if s.source.Port() != 0 {
		how = byDevice // an address can no longer be set
	}
	if err := r.p.bind(s, ch, how); err != nil {
		return err
	}
	now, err := inspect(s.fd)
	s.source, s.device = now.source, now.device
	return err
}

// stays returns an error if what the socket sends to a loopback address leaves this host. With
// an interface, the kernel finds the default route there.
func (s *socket) stays(from origin) (err error) {
	if s.device == "" { // of kinds that are not placed, it was not looked at
		if s.device, err = unix.GetsockoptString(s.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil {
			return os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
		}
	}
	if err := s.direct(from); err != nil {
		return err
	}
	at, err := s.binding(from)
	if err != nil || at.device == "" {
		return err
	}
	if i, err := net.InterfaceByName(at.device); err == nil && i.Flags&net.FlagLoopback != 0 {
		return nil
	}
	return fmt.Errorf("it is bound to %s, by which the kernel would send it to the network", at.device)
}

// fixed tells whether a socket's own address says where it sends from.
func fixed(a netip.Addr) bool { return a.IsValid() && !a.Unmap().IsUnspecified() }

// place returns where the socket's messages leave this host, with what a message says
// itself.
func (s *socket) place(from origin) (at place, err error) {
	if mark, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0 || from.marked {
		return at, errors.Join(err, errMarked)
	}
	if err := s.direct(from); err != nil {
		return at, err
	}
	return s.binding(from)
}

// direct returns an error if the socket or the message has a source route. The socket may have
// had one when the program got it.
func (s *socket) direct(from origin) error {
	var b [2048]byte // a routing header has at most as many
	options, err := option(s.fd, unix.IPPROTO_IP, unix.IP_OPTIONS, b[:])
	routed := from.routed || sourceRoute(options)
	if err == nil && s.v6 {
		var header []byte
		header, err = option(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, b[:])
		routed = routed || len(header) > 0
	}
	if err == nil && routed {
		err = errRouted
	}
	return err
}

// option returns an option of a socket, which has no fixed length, in b. A socket that cannot
// have the option, as one of Multipath TCP, has an empty one.
func option(fd, level, name int, b []byte) ([]byte, error) {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	switch errno {
	case 0:
		return b[:min(size, uint32(len(b)))], nil
	case unix.EOPNOTSUPP:
		return nil, nil
	}
	return nil, os.NewSyscallError("getsockopt", errno)
}

// binding returns to what the socket is bound, or the message.
func (s *socket) binding(from origin) (at place, err error) {
	if fixed(s.source.Addr()) {
		at.source = s.source.Addr().Unmap()
	}
	if from.source.IsValid() {
		at.source = from.source
	}
	for _, option := range [][2]int{{unix.IPPROTO_IP, unix.IP_UNICAST_IF}, {unix.IPPROTO_IPV6, unix.IPV6_UNICAST_IF}} {
		if option[0] == unix.IPPROTO_IPV6 && !s.v6 {
			continue
		}
		n, err := unix.GetsockoptInt(s.fd, option[0], option[1])
		if err != nil {
			return at, os.NewSyscallError("getsockopt", err)
		}
		// The kernel has the index in the order of the network.
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], uint32(n))
		if err := at.on(int(binary.BigEndian.Uint32(b[:]))); err != nil {
			return at, err
		}
	}
	if err := at.on(from.index); err != nil {
		return at, err
	}
	if s.device != "" {
		err = at.onDevice(s.device)
	}
	return at, err
}

// on adds an interface by its index; 0: none.
func (at *place) on(index int) error {
	if index == 0 {
		return nil
	}
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return fmt.Errorf("interface %d: %w", index, err)
	}
	return at.onDevice(i.Name)
}

func (at *place) onDevice(name string) error {
	if at.device != "" && at.device != name {
		return fmt.Errorf("it is bound to %s and to %s", at.device, name)
	}
	at.device = name
	return nil
}

func (at place) String() string {
	switch {
	case at.device == "":
		return at.source.String()
	case at.source.IsValid():
		return fmt.Sprintf("%v on %s", at.source, at.device)
	}
	return at.device
}

// permits returns the place that the manager permits and a socket leaves by. A program's
// own binding has to be what was chosen. A socket that was placed for another destination
// can be on one network only: that has to be among those that the manager offers.
func (c *choice) permits(at place, dest netip.Addr, placed bool) (place, error) {
	chosen := placeOf(c.endpoint)
	switch {
	case chosen == (place{}): // the kernel's choice
		return chosen, nil
	case at == (place{}):
		return at, fmt.Errorf("it could not be bound to %v", chosen)
	case at.is(chosen):
		return chosen, nil
	case !placed:
		return at, fmt.Errorf("it is bound to %v, and %v was chosen", at, chosen)
	}
	for _, e := range c.offered {
		if o := placeOf(e); o != (place{}) && e.Remote.Addr() == dest && at.is(o) {
			return o, nil
		}
	}
	return at, fmt.Errorf("the socket was placed on %v for another destination, and %v was chosen", at, chosen)
}

// placeOf returns the place of an endpoint.
func placeOf(e client.Endpoint) place {
	at := place{source: e.Source}
	for _, o := range e.Options {
		if o.Level == unix.SOL_SOCKET && o.Name == unix.SO_BINDTODEVICE {
			at.device = unix.ByteSliceToString(o.Value)
		}
	}
	return at
}

// is tells whether a place is the chosen one: the same interface, and on it an address of
// the same network.
func (at place) is(chosen place) bool {
	if chosen.device == "" {
		chosen.device = interfaceOf(chosen.source)
	}
	if at.device != "" && at.device != chosen.device {
		return false
	}
	return !at.source.IsValid() || !chosen.source.IsValid() || at.source == chosen.source || together(at.source, chosen.source)
}

// together tells whether an interface has both addresses, in one network.
func together(a, b netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	has := func(a netip.Addr) bool {
		return slices.ContainsFunc(list, func(n net.Addr) bool { return n.(*net.IPNet).IP.Equal(a.AsSlice()) })
	}
	return interfaceOf(a) == interfaceOf(b) && has(a) && slices.ContainsFunc(list, func(n net.Addr) bool {
		network := n.(*net.IPNet)
		return network.IP.Equal(b.AsSlice()) && network.Contains(a.AsSlice())
	})
}

// agreed tells whether a use of a socket was decided about.
func (p *placer) agreed(use agreed) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.uses[use]
	return ok
}

func (p *placer) agree(use agreed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.uses) >= maxPlaced {
		clear(p.uses)
	}
	p.uses[use] = struct{}{}
}
