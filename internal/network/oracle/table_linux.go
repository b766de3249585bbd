package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filter selects routes. The zero value selects all IPv4 routes.
type Filter struct {
	V6       bool
	Table    int   // 0: any
	Protocol uint8 // the program that made them (RTPROT_); 0: any
	// Device is the index of an interface; 0: any.
	Device int
}

// ErrInterrupted means that the tables changed during the reading, so that entries may
// be missing or doubled.
var ErrInterrupted = errors.New("the routing tables changed while they were read")

// Routes calls each for the selected routes, in the kernel's order, until each returns
// false. Routes by a next-hop object get the object's next hops. If single questions
// will do (Match), these are cheaper. An error that wraps ErrInterrupted comes after
// all routes were passed.
func (k *Kernel) Routes(f Filter, each func(*Route) bool) error {
	more := true
	return k.dump(f.request, func(body []byte) error {
		r, err := decodeRoute(body)
		if err != nil {
			return err
		}
		if !more || !f.picks(&r) { // older kernels ignore the filter
			return nil
		}
		if r.Object != 0 && len(r.Hops) == 0 && r.Leads() {
			if r.Hops, err = k.object(r.Object); err != nil {
				return err
			}
		}
		more = each(&r)
		return nil
	})
}

func (f *Filter) picks(r *Route) bool {
	if f.Device != 0 && len(r.Hops) > 0 {
		if _, ok := r.On(f.Device); !ok {
			return false
		}
	}
	return (f.Table == 0 || f.Table == r.Table) && (f.Protocol == 0 || f.Protocol == r.Protocol) && r.Flags&unix.RTM_F_CLONED == 0
}

// request makes the request for a dump. A kernel that is asked to be strict sends only
// what the filter selects (Linux 4.20).
func (f *Filter) request(seq uint32) []byte {
	b := make([]byte, headerLen+rtMsgLen)
	m := b[headerLen:]
	m[0] = unix.AF_INET
	if f.V6 {
		m[0] = unix.AF_INET6
	}
	m[5] = f.Protocol
	if f.Table != 0 {
		b = appendNumber(b, unix.RTA_TABLE, uint32(f.Table))
	}
	if f.Device != 0 {
		b = appendNumber(b, unix.RTA_OIF, uint32(f.Device))
	}
	return finish(b, unix.RTM_GETROUTE, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, seq)
}

// finish fills in a message's header.
func finish(b []byte, kind, flags uint16, seq uint32) []byte {
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return b
}

// dump sends a request and calls each for the bodies of the answers. Only one dump runs
// at a time.
func (k *Kernel) dump(request func(seq uint32) []byte, each func(body []byte) error) error {
	var s *socket
	select {
	case s = <-k.tables:
	case <-k.closed:
		return ErrClosed
	}
	defer func() { k.tables <- s }()
	s.seq++
	if _, err := unix.Write(s.fd, request(s.seq)); err != nil {
		return err
	}
	interrupted := false
	var failed error
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		for len(b) > 0 {
			m, rest, err := next(b)
			if err != nil {
				return err
			}
			b = rest
			if m.seq != s.seq {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if errno := m.errno(); errno != 0 && !nothing(errno) {
					return fmt.Errorf("reading routing: %w", errno)
				}
				if interrupted && failed == nil {
					return ErrInterrupted
				}
				return failed
			case unix.RTM_NEWROUTE, unix.RTM_NEWNEXTHOP, unix.RTM_NEWRULE:
				if failed == nil { // go on after an error, to empty the socket
					failed = each(m.body)
				}
			}
		}
	}
}

// nothing tells whether an error means that what was asked for does not exist: the
// table, the family, or next-hop objects.
func nothing(e unix.Errno) bool {
	return e == unix.ENOENT || e == unix.EAFNOSUPPORT || e == unix.EOPNOTSUPP
}

// FreeTable returns the first empty routing table with at least the number from.
func (k *Kernel) FreeTable(from int) (int, error) {
	for n := from; ; n++ {
		used := false
		for _, v6 := range []bool{false, true} {
			err := k.Routes(Filter{V6: v6, Table: n}, func(*Route) bool { used = true; return false })
			if err != nil && !errors.Is(err, ErrInterrupted) {
				return 0, err
			}
		}
		if !used {
			return n, nil
		}
	}
}

// Metrics returns the largest metric of the routes of table main that lead to everywhere,
// 0 if there are none; and the smallest metric of its default routes that refuse, nil if
// there are none. Of IPv4 that may be 0, which is the metric of a route without one. It is
// also 0 if routes to parts of everywhere refuse (Refusing), as every default route comes
// behind these.
func (k *Kernel) Metrics(v6 bool) (leads int, refuses *int, err error) {
	var refusing []Route
	err = k.Routes(Filter{V6: v6, Table: TableMain}, func(r *Route) bool {
		switch {
		case r.Wide() && r.Leads():
			leads = max(leads, r.Metric)
		case r.Wide() && r.Refuses():
			refusing = append(refusing, *r)
		}
		return true
	})
	for _, r := range whole(refusing) {
		metric := r.Metric
		if r.Prefix.Bits() > 0 {
			metric = 0
		}
		if refuses == nil || metric < *refuses {
			refuses = &metric
		}
	}
	if errors.Is(err, ErrInterrupted) {
		err = nil
	}
	return leads, refuses, err
}

// Refusing returns the routes of all tables of a family that refuse or drop packets to
// everywhere: default routes, and routes to parts that together are everywhere.
func (k *Kernel) Refusing(v6 bool) (list []Route, err error) {
	err = k.Routes(Filter{V6: v6}, func(r *Route) bool {
		if r.Wide() && r.Refuses() {
			list = append(list, *r)
		}
		return true
	})
	if errors.Is(err, ErrInterrupted) {
		err = nil
	}
	return whole(list), err
}

// whole keeps those wide routes of a family which are to everywhere, alone or with the other
// half in their table. All of IPv6 that is in use is in the lower half.
func whole(list []Route) []Route {
	halves := map[int]map[netip.Prefix]bool{}
	for i := range list {
		if r := &list[i]; r.Prefix.Bits() == 1 {
			if halves[r.Table] == nil {
				halves[r.Table] = map[netip.Prefix]bool{}
			}
			halves[r.Table][r.Prefix] = true
		}
	}
	return slices.DeleteFunc(list, func(r Route) bool {
		switch {
		case r.Prefix.Bits() != 1:
			return false
		case r.Prefix.Addr().Is6():
			return !r.Prefix.Overlaps(unicast6)
		}
		return !coverAll(halves[r.Table])
	})
}

// Attributes of next-hop objects, the length of their header, and that of a member of a
// group (linux/nexthop.h).
const (
	nhaID, nhaGroup, nhaBlackhole, nhaOIF, nhaGateway = 1, 2, 4, 5, 6

	nhMsgLen  = 8
	memberLen = 8
)

// Object is a next-hop object (ip-nexthop(8)).
type Object struct {
	ID       int
	Protocol uint8 // the program that made it (RTPROT_)
	Step           // without an interface it is a group or a blackhole
	Group    []Member
}

// Member is an entry in a group of next-hop objects.
type Member struct{ ID, Weight int }

// Objects calls each for the next-hop objects. Before Linux 5.3 there are none.
func (k *Kernel) Objects(each func(Object)) error {
	request := func(seq uint32) []byte {
		return finish(make([]byte, headerLen+nhMsgLen), unix.RTM_GETNEXTHOP, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, seq)
	}
	err := k.dump(request, func(body []byte) error {
		o, err := decodeObject(body)
		if err == nil {
			each(o)
		}
		return err
	})
	if errors.Is(err, unix.EINVAL) {
		return nil // the kernel does not know the request
	}
	return err
}

// Append appends the body of an RTM_NEWNEXTHOP for an object with an interface and a
// gateway.
func (o *Object) Append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, nhMsgLen)...)
	b[at], b[at+2] = family(o.Gateway), o.Protocol
	if o.OnLink {
		binary.NativeEndian.PutUint32(b[at+4:], unix.RTNH_F_ONLINK)
	}
	b = appendNumber(b, nhaID, uint32(o.ID))
	b = appendNumber(b, nhaOIF, uint32(o.Index))
	return appendAttr(b, nhaGateway, o.Gateway.AsSlice())
}

// Name returns the body of an RTM_DELNEXTHOP.
func (o *Object) Name() []byte {
	return appendNumber(make([]byte, nhMsgLen), nhaID, uint32(o.ID))
}

// decodeObject reads the body of an RTM_NEWNEXTHOP.
func decodeObject(b []byte) (Object, error) {
	var o Object
	if len(b) < nhMsgLen {
		return o, errMalformed
	}
	o.Protocol = b[2]
	flags := binary.NativeEndian.Uint32(b[4:])
	o.Weight, o.OnLink, o.Dead = 1, flags&unix.RTNH_F_ONLINK != 0, flags&unix.RTNH_F_DEAD != 0
	err := attributes(b[nhMsgLen:], func(kind uint16, data []byte) (err error) {
		switch kind {
		case nhaID:
			o.ID, err = index(data)
		case nhaOIF:
			o.Index, err = index(data)
		case nhaGateway:
			o.Gateway, _ = netip.AddrFromSlice(data)
			if !o.Gateway.IsValid() {
				err = errMalformed
			}
		case nhaGroup:
			for ; len(data) >= memberLen; data = data[memberLen:] {
				// Linux 6.12 added the upper half of the weight. Before that it was
				// reserved, and 0.
				weight := int(data[4]) | int(data[5])<<8
				o.Group = append(o.Group, Member{int(binary.NativeEndian.Uint32(data)), weight + 1})
			}
			if len(data) > 0 {
				err = errMalformed
			}
		}
		return err
	})
	return o, err
}

// object returns the next hops of an object. It asks the kernel again only if something
// has changed.
func (k *Kernel) object(id int) ([]Step, error) {
	epoch := k.Epoch()
	k.mu.Lock()
	list, ok := k.objects[id]
	ok = ok && k.objectsAt == epoch
	k.mu.Unlock()
	if ok {
		return list, nil
	}
	o, err := k.askObject(id)
	if err != nil {
		return nil, err
	}
	list = nil
	if o.Index != 0 {
		list = []Step{o.Step}
	}
	for _, m := range o.Group {
		member, err := k.askObject(m.ID)
		if err != nil {
			return nil, err
		}
		if member.Index != 0 {
			member.Weight = m.Weight
			list = append(list, member.Step)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.objectsAt != epoch || k.objects == nil {
		k.objects, k.objectsAt = map[int][]Step{}, epoch
	}
	k.objects[id] = list
	return list, nil
}

// askObject asks for an object. If the object has gone, the result is empty.
func (k *Kernel) askObject(id int) (Object, error) {
	var o Object
	err := k.exchange(func(b []byte, seq uint32) []byte {
		b = append(b, make([]byte, headerLen+nhMsgLen)...)
		return finish(appendNumber(b, nhaID, uint32(id)), unix.RTM_GETNEXTHOP, unix.NLM_F_REQUEST, seq)
	}, func(m *reply) (err error) {
		if m.kind != unix.RTM_NEWNEXTHOP {
			return errMalformed
		}
		o, err = decodeObject(m.body)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return Object{}, nil
	}
	return o, err
}

// chooser is a socket that lets the kernel choose a source address. Nothing is sent by
// it.
type chooser struct{ fd int }

// source returns the source that the kernel gives to an unbound socket. It is invalid
// if the kernel would not send. Only one goroutine at a time may call it.
func (c *chooser) source(dst netip.Addr) netip.Addr {
	const discard = 9
	if unix.Connect(c.fd, &unix.SockaddrInet6{Addr: dst.As16(), Port: discard}) != nil {
		return netip.Addr{}
	}
	sa, err := unix.Getsockname(c.fd)
	// Without this, the next connect would keep the source.
	if reset := disconnect(c.fd); err != nil || reset != nil {
		return netip.Addr{}
	}
	if six, ok := sa.(*unix.SockaddrInet6); ok {
		return netip.AddrFrom16(six.Addr)
	}
	return netip.Addr{}
}

// disconnect makes a socket forget its peer, and so the source that the kernel chose.
// Package unix lacks the address that this needs.
func disconnect(fd int) error {
	none := unix.RawSockaddrInet6{Family: unix.AF_UNSPEC}
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unix.SizeofSockaddrInet6); errno != 0 {
		return errno
	}
	return nil
}

// ParseRoute reads the body of an RTM_NEWROUTE or RTM_DELROUTE.
func ParseRoute(b []byte) (Route, error) { return decodeRoute(b) }
