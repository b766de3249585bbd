package oracle

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// TableMain is the number of the routing table that is used unless a rule says
// otherwise (rtnetlink(7)).
const TableMain = unix.RT_TABLE_MAIN

// Route is an entry of a routing table. It has everything that is needed to understand
// it, to show it, and to write a copy. It must not be modified once it is shared.
type Route struct {
	Table int
	Kind  uint8 // one of unix.RTN_UNICAST and its like
	// Prefix are the destinations; 0.0.0.0/0 or ::/0 is a default route. From are the
	// sources that the route is for; invalid: all. Only IPv6 has routes for certain
	// sources.
	Prefix, From netip.Prefix
	Metric       int        // lower is better
	Source       netip.Addr // for unbound sockets (RTA_PREFSRC); invalid: the kernel chooses
	// Hops are the next hops, in the kernel's order. Two kinds of routes have none. The
	// first are those that refuse packets. The second are those that name an Object
	// without saying what is in it (net.ipv4.nexthop_compat_mode = 0); Kernel.Routes
	// fills in their Hops.
	Hops []Step
	// Object identifies the next-hop object that the route names (ip-nexthop(8)); 0:
	// none.
	Object int
	// Metrics are settings for connections by the route, such as mtu and initcwnd. They
	// are the attributes inside RTA_METRICS in the kernel's form.
	Metrics string
	// Preference is the preference of a router (RFC 4191), as encoded in messages: 0
	// medium, 1 high, 3 low.
	Preference uint8
	// Expires is the remaining lifetime of the route. Zero means for ever. Negative
	// means that the route has ended, although the kernel has not removed it yet.
	Expires  time.Duration
	Protocol uint8 // the program that made it (RTPROT_)
	Scope    uint8
	TOS      uint8
	// Flags are the flags of the whole route (RTM_F_). If there is a single next hop,
	// its flags are here, too.
	Flags uint32
}

// Step is one of the next hops of a route.
type Step struct {
	Hop
	Weight int // at least 1
	// OnLink tells that the gateway is a neighbour, even if no route says so.
	OnLink bool
	// Dead tells that the kernel does not use the next hop, because its link is down.
	Dead bool
	// Extra are attributes that are copied unchanged, such as an encapsulation.
	Extra string
}

// Wide tells whether the route leads to everywhere: a default route, one of the two
// halves that VPNs install instead of it, or 2000::/3, all of IPv6 that is in use.
func (r *Route) Wide() bool { return wide(r.Prefix) }

// Leads tells whether the route sends packets, rather than refusing them.
func (r *Route) Leads() bool { return r.Kind == unix.RTN_UNICAST }

// Refuses tells whether the route refuses or drops packets (blackhole, unreachable,
// prohibit).
func (r *Route) Refuses() bool {
	return r.Kind == unix.RTN_BLACKHOLE || r.Kind == unix.RTN_UNREACHABLE || r.Kind == unix.RTN_PROHIBIT
}

// Near tells whether the destinations of the route are neighbours.
func (r *Route) Near() bool {
	return r.Leads() && len(r.Hops) > 0 && !slices.ContainsFunc(r.Hops, func(h Step) bool { return h.Gateway.IsValid() })
}

// Devices returns the interfaces that the route leads to.
func (r *Route) Devices() []int {
	var list []int
	for _, h := range r.Hops {
		if !slices.Contains(list, h.Index) {
			list = append(list, h.Index)
		}
	}
	return list
}

// Serves tells whether the route is for packets with source a.
func (r *Route) Serves(a netip.Addr) bool { return !r.From.IsValid() || r.From.Contains(a) }

// On returns the route with only the next hops on the given interface. ok is false if
// there are none, or if all of them are dead. The result names an Object only if no
// next hop was left out.
func (r *Route) On(index int) (Route, bool) {
	on := *r
	on.Hops = slices.DeleteFunc(slices.Clone(r.Hops), func(h Step) bool { return h.Index != index || h.Dead })
	if len(on.Hops) != len(r.Hops) {
		on.Object = 0
	}
	return on, len(on.Hops) > 0
}

// Key returns a text that is equal for two routes if the kernel takes both for the
// same. Two things are not part of it: the lifetime, and whether a gateway was marked
// as on the link although a route leads to it, because the kernel does not return that
// mark.
func (r *Route) Key() string {
	c := *r
	c.Expires, c.Flags = 0, 0
	c.Hops = slices.Clone(r.Hops)
	for i := range c.Hops {
		c.Hops[i].OnLink, c.Hops[i].Dead = false, false
		if len(c.Hops) == 1 {
			c.Hops[i].Weight = 1
		}
	}
	if c.Prefix.Addr().Is6() {
		if c.Metric == 0 {
			c.Metric = defaultMetric6
		}
		c.Scope = unix.RT_SCOPE_UNIVERSE
		// The kernel has an order of its own for next hops.
		slices.SortFunc(c.Hops, func(a, b Step) int {
			return cmp.Or(cmp.Compare(a.Index, b.Index), a.Gateway.Compare(b.Gateway))
		})
	}
	if !c.Leads() {
		c.Hops = nil // for refusing routes IPv6 says lo
	}
	if c.Object != 0 {
		c.Hops, c.Scope = nil, unix.RT_SCOPE_UNIVERSE // both are those of the object
	}
	return string(c.Append(nil))
}

// Slot returns the place of the route in its table. The kernel keeps only one route per
// place, unless it is asked to append.
func (r *Route) Slot() Slot {
	s := Slot{r.Table, r.Prefix, r.From, r.Metric, r.TOS}
	if r.Prefix.Addr().Is6() && s.Metric == 0 {
		s.Metric = defaultMetric6
	}
	return s
}

// Slot is a place in a table: destinations, sources, metric and type of service.
type Slot struct {
	Table        int
	Prefix, From netip.Prefix
	Metric       int
	TOS          uint8
}

// defaultMetric6 is the metric that IPv6 uses for 0 (IP6_RT_PRIO_USER of
// linux/ipv6_route.h).
const defaultMetric6 = 1024

// Equal tells whether two routes say the same. Times of expiry count as equal if they
// are close, because each reading finds a little less time left.
func (r *Route) Equal(o *Route) bool {
	const close = 2 * time.Second
	over := (r.Expires == 0) == (o.Expires == 0) && (r.Expires < 0) == (o.Expires < 0)
	return over && (r.Expires-o.Expires).Abs() <= close && r.Key() == o.Key()
}

// Append appends the body of an RTM_NEWROUTE or RTM_DELROUTE for this route.
func (r *Route) Append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, rtMsgLen)...)
	h := b[at:]
	h[0] = family(r.Prefix.Addr())
	h[1] = byte(r.Prefix.Bits())
	h[3], h[5], h[6], h[7] = r.TOS, r.Protocol, r.Scope, r.Kind
	if r.Prefix.Bits() > 0 {
		b = appendAttr(b, unix.RTA_DST, r.Prefix.Addr().AsSlice())
	}
	if r.From.IsValid() {
		b[at+2] = byte(r.From.Bits())
		b = appendAttr(b, unix.RTA_SRC, r.From.Addr().AsSlice())
	}
	b = appendNumber(b, unix.RTA_TABLE, uint32(r.Table))
	if r.Metric != 0 {
		b = appendNumber(b, unix.RTA_PRIORITY, uint32(r.Metric))
	}
	if r.Source.IsValid() {
		b = appendAttr(b, unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	if r.Metrics != "" {
		b = appendAttr(b, unix.RTA_METRICS, []byte(r.Metrics))
	}
	if r.Preference != 0 {
		b = appendAttr(b, unix.RTA_PREF, []byte{r.Preference})
	}
	if r.Expires > 0 {
		b = appendNumber(b, unix.RTA_EXPIRES, uint32((r.Expires+time.Second-1)/time.Second))
	}
	switch {
	case r.Object != 0:
		b = appendNumber(b, nextHopID, uint32(r.Object))
	case len(r.Hops) == 1:
		step := &r.Hops[0]
		if step.OnLink {
			binary.NativeEndian.PutUint32(b[at+8:], unix.RTNH_F_ONLINK)
		}
		b = appendNumber(b, unix.RTA_OIF, uint32(step.Index))
		b = step.append(b, r.Prefix.Addr().Is6())
	case len(r.Hops) > 1:
		var list []byte
		for i := range r.Hops {
			list = r.Hops[i].appendHop(list, r.Prefix.Addr().Is6())
		}
		b = appendAttr(b, unix.RTA_MULTIPATH, list)
	}
	return b
}

// append appends the attributes of a next hop, without its interface.
func (s *Step) append(b []byte, v6 bool) []byte {
	switch {
	case !s.Gateway.IsValid():
	case s.Gateway.Is6() == v6:
		b = appendAttr(b, unix.RTA_GATEWAY, s.Gateway.AsSlice())
	default: // RFC 5549
		b = appendAttr(b, unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, uint16(family(s.Gateway))), s.Gateway.AsSlice()...))
	}
	return append(b, s.Extra...)
}

// appendHop appends a struct rtnexthop.
func (s *Step) appendHop(b []byte, v6 bool) []byte {
	at := len(b)
	b = append(b, make([]byte, hopLen)...)
	if s.OnLink {
		b[at+2] = unix.RTNH_F_ONLINK
	}
	b[at+3] = byte(max(s.Weight, 1) - 1)
	binary.NativeEndian.PutUint32(b[at+4:], uint32(s.Index))
	b = s.append(b, v6)
	binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at))
	return b
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// decodeRoute reads the body of an RTM_NEWROUTE or RTM_DELROUTE.
func decodeRoute(b []byte) (Route, error) {
	var r Route
	if len(b) < rtMsgLen {
		return r, errMalformed
	}
	dst, src := netip.IPv4Unspecified(), netip.IPv4Unspecified()
	switch b[0] {
	case unix.AF_INET:
	case unix.AF_INET6:
		dst, src = netip.IPv6Unspecified(), netip.IPv6Unspecified()
	default:
		return r, errMalformed
	}
	bits, fromBits := int(b[1]), int(b[2])
	r.TOS, r.Table, r.Protocol, r.Scope, r.Kind = b[3], int(b[4]), b[5], b[6], b[7]
	r.Flags = binary.NativeEndian.Uint32(b[8:])
	one := Step{Weight: 1, OnLink: r.Flags&unix.RTNH_F_ONLINK != 0, Dead: r.Flags&unix.RTNH_F_DEAD != 0}
	err := attributes(b[rtMsgLen:], func(kind uint16, data []byte) (err error) {
		switch kind {
		case unix.RTA_DST:
			dst, err = addr(data, dst.BitLen())
		case unix.RTA_SRC:
			src, err = addr(data, src.BitLen())
		case unix.RTA_PREFSRC:
			r.Source, err = addr(data, dst.BitLen())
		case unix.RTA_OIF:
			one.Index, err = index(data)
		case unix.RTA_TABLE:
			r.Table, err = index(data)
		case unix.RTA_PRIORITY:
			r.Metric, err = number(data)
		case nextHopID:
			r.Object, err = number(data)
		case unix.RTA_METRICS:
			r.Metrics = string(data)
		case unix.RTA_PREF:
			if len(data) != 1 {
				return errMalformed
			}
			r.Preference = data[0]
		case unix.RTA_CACHEINFO:
			r.Expires, err = expiry(data)
		case unix.RTA_MULTIPATH:
			r.Hops, err = steps(data, dst.BitLen())
		default:
			err = one.attribute(kind, data, dst.BitLen())
		}
		return err
	})
	if err != nil {
		return r, err
	}
	if r.Prefix, err = dst.Prefix(bits); err != nil {
		return r, errMalformed
	}
	if fromBits > 0 {
		if r.From, err = src.Prefix(fromBits); err != nil {
			return r, errMalformed
		}
	}
	if one.Index != 0 && len(r.Hops) == 0 {
		r.Hops = []Step{one}
	}
	return r, nil
}

// attribute reads an attribute that routes and their next hops have in common.
func (s *Step) attribute(kind uint16, data []byte, bitLen int) (err error) {
	switch kind {
	case unix.RTA_GATEWAY, unix.RTA_VIA:
		s.Gateway, err = gateway(kind, data, bitLen)
	case unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE, unix.RTA_FLOW, unix.RTA_NEWDST:
		s.Extra += string(appendAttr(nil, kind, data))
	}
	return err
}

// steps reads the next hops of a multipath route.
func steps(b []byte, bitLen int) ([]Step, error) {
	var list []Step
	for len(b) > 0 {
		if len(b) < hopLen {
			return nil, errMalformed
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < hopLen || size > len(b) {
			return nil, errMalformed
		}
		s := Step{Weight: int(b[3]) + 1, OnLink: b[2]&unix.RTNH_F_ONLINK != 0, Dead: b[2]&unix.RTNH_F_DEAD != 0}
		s.Index = int(int32(binary.NativeEndian.Uint32(b[4:])))
		if s.Index <= 0 {
			return nil, errMalformed
		}
		if err := attributes(b[hopLen:size], func(kind uint16, data []byte) error { return s.attribute(kind, data, bitLen) }); err != nil {
			return nil, err
		}
		list = append(list, s)
		b = b[min(align(size), len(b)):]
	}
	return list, nil
}

// gateway reads a gateway. An RTA_VIA is a gateway of the other family (RFC 5549).
func gateway(kind uint16, data []byte, bitLen int) (netip.Addr, error) {
	if kind == unix.RTA_VIA {
		if len(data) < 2 {
			return netip.Addr{}, errMalformed
		}
		data, bitLen = data[2:], 8*(len(data)-2)
	}
	a, err := addr(data, bitLen)
	if a.IsUnspecified() {
		a = netip.Addr{}
	}
	return a, err
}

func addr(data []byte, bitLen int) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(data)
	if !ok || a.BitLen() != bitLen {
		return netip.Addr{}, errMalformed
	}
	return a, nil
}

func number(data []byte) (int, error) {
	if len(data) < 4 {
		return 0, errMalformed
	}
	return int(binary.NativeEndian.Uint32(data)), nil
}

// index reads a positive number of 31 bits, as interfaces have.
func index(data []byte) (int, error) {
	n, err := number(data)
	if err == nil && n <= 0 {
		err = errMalformed
	}
	return n, err
}

// expiry reads the field rta_expires of struct rta_cacheinfo.
func expiry(data []byte) (time.Duration, error) {
	if len(data) < 12 {
		return 0, errMalformed
	}
	ticks := int32(binary.NativeEndian.Uint32(data[8:]))
	return time.Duration(ticks) * (time.Second / userHZ), nil
}

// userHZ is the number of time units per second in rtnetlink, on all architectures that
// Go supports.
const userHZ = 100

// attributes calls f for each attribute.
func attributes(b []byte, f func(kind uint16, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < attrLen {
			return errMalformed
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrLen || size > len(b) {
			return errMalformed
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&attrType, b[attrLen:size]); err != nil {
			return err
		}
		b = b[min(align(size), len(b)):]
	}
	return nil
}
