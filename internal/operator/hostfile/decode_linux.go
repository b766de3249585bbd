package hostfile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// linkNames are names of links by index. Other links are written as "if" and their
// index.
type linkNames map[int]string

func (n linkNames) of(index uint32) string {
	if name, ok := n[int(index)]; ok {
		return name
	}
	return "if" + strconv.FormatUint(uint64(index), 10)
}

// errShort means that a message ends too early.
var errShort = errors.New("message too short")

// header is struct rtmsg. A fib_rule_hdr has the same layout with other names
// (rtnetlink(7), linux/fib_rules.h).
type header struct {
	family, dstLen, srcLen, tos, table, protocol, scope, kind byte
	flags                                                     uint32
}

const headerLen = 12

func decodeHeader(b []byte) (h header, attrs []byte, err error) {
	if len(b) < headerLen {
		return h, nil, errShort
	}
	h = header{b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], hostUint32(b[8:])}
	return h, b[headerLen:], nil
}

func (h *header) ipv6() bool { return h.family == unix.AF_INET6 }

func (h *header) verb(object string) string {
	if h.ipv6() {
		return object + "6"
	}
	return object
}

// prefixOf makes a prefix of address bytes. ok is false if the bytes are not an address, or
// if the length is too large.
func prefixOf(b []byte, bits byte) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(b)
	if !ok || int(bits) > a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, int(bits)), true
}

// shown formats a prefix like ip(8): a single address has no length.
func shown(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// statement collects arguments.
type statement struct{ Statement }

func (s *statement) add(key string, value any) {
	s.Args = append(s.Args, Arg{key, fmt.Sprint(value)})
}

func (s *statement) flag(key string) { s.Args = append(s.Args, Arg{Key: key}) }

// The types of routes, which are also those of rules apart from unicast (rtnetlink(7)).
var types = map[byte]string{
	unix.RTN_UNICAST: "", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw",
	unix.RTN_LOCAL: "local",
}

// protocols are the originators that every ip(8) knows by name.
var protocols = map[byte]string{unix.RTPROT_KERNEL: "kernel", unix.RTPROT_STATIC: "static", unix.RTPROT_RA: "ra", unix.RTPROT_DHCP: "dhcp"}

func (s *statement) protocol(key string, p byte) {
	switch name, ok := protocols[p]; {
	case ok:
		s.add(key, name)
	case p != unix.RTPROT_UNSPEC && p != unix.RTPROT_BOOT:
		s.add(key, p)
	}
}

func tableName(n uint32) string {
	switch n {
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	case unix.RT_TABLE_LOCAL:
		return "local"
	}
	return strconv.FormatUint(uint64(n), 10)
}

// hop is a next hop of a route.
type hop struct {
	gateway netip.Addr
	index   uint32
	flags   byte
	weight  int
	flow    uint32 // the realms: the source's in the upper half, the destination's in the lower
	encap   encap
}

func (s *statement) hop(h *hop, ipv6 bool, names linkNames) {
	if text, ok := h.encap.text(); ok && text != "" {
		s.add("encap", text)
	}
	if h.gateway.IsValid() {
		via := h.gateway.String()
		switch {
		case h.gateway.Is6() && !ipv6:
			via = "inet6 " + via
		case h.gateway.Is4() && ipv6:
			via = "inet " + via
		}
		s.add("via", via)
	}
	if h.index != 0 {
		s.add("dev", names.of(h.index))
	}
	s.realms(h.flow)
	if h.weight > 0 {
		s.add("weight", h.weight)
	}
	if h.flags&unix.RTNH_F_ONLINK != 0 {
		s.flag("onlink")
	}
}

// realms adds the realms of a route or a rule (RTA_FLOW, FRA_FLOW), which name classes of traffic.
// It adds nothing if flow is 0.
func (s *statement) realms(flow uint32) {
	switch from, to := flow>>16, flow&0xffff; {
	case from != 0:
		s.add("realms", fmt.Sprintf("%d/%d", from, to))
	case to != 0:
		s.add("realms", to)
	}
}

// via reads a struct rtvia, which is a gateway of either family.
func via(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(b[2:])
	return a
}

// decodeNexthops reads RTA_MULTIPATH.
func decodeNexthops(b []byte) ([]hop, error) {
	var hops []hop
	for len(b) >= unix.SizeofRtNexthop {
		n := int(hostUint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, errShort
		}
		h := hop{flags: b[2], weight: int(b[3]) + 1, index: hostUint32(b[4:])}
		d, err := netlink.NewAttributeDecoder(b[unix.SizeofRtNexthop:n])
		if err != nil {
			return nil, err
		}
		for d.Next() {
			switch d.Type() {
			case unix.RTA_GATEWAY:
				h.gateway, _ = netip.AddrFromSlice(d.Bytes())
			case unix.RTA_VIA:
				h.gateway = via(d.Bytes())
			case unix.RTA_FLOW:
				h.flow = d.Uint32()
			default:
				h.encap.attribute(d.Type(), d)
			}
		}
		if err := d.Err(); err != nil {
			return nil, err
		}
		hops = append(hops, h)
		b = b[min((n+3)&^3, len(b)):]
	}
	return hops, nil
}

// rtaNhID is RTA_NH_ID of linux/rtnetlink.h.
const rtaNhID = 30

// userHZ is the number of the kernel's time units per second, the same everywhere
// (USER_HZ).
const userHZ = 100

// decodeRoute reads a route. ok is false for a route that the kernel makes by itself,
// or that no statement can express.
func decodeRoute(b []byte, names linkNames) (*Statement, bool, error) {
	h, attrs, err := decodeHeader(b)
	if err != nil {
		return nil, false, err
	}
	if _, known := types[h.kind]; !known || h.flags&unix.RTM_F_CLONED != 0 {
		return nil, false, nil
	}
	r := newRoute(h)
	if err := r.read(attrs); err != nil {
		return nil, false, err
	}
	if !r.expressible() || r.omitted() {
		return nil, false, nil
	}
	return r.statement(names), true, nil
}

// route is what a message of the kernel says about a route.
type route struct {
	header
	dst, src netip.Prefix // src is invalid if the route is for all sources
	prefSrc  netip.Addr
	one      hop   // the next hop
	many     []hop // the next hops of RTA_MULTIPATH, in place of one
	table    uint32
	metric   uint32
	object   uint32 // the next-hop object, in place of one and many; 0: none
	expires  int64  // in seconds; -1: never
	pref     string
	metrics  statement // has only arguments
}

// newRoute returns a route with the values that hold where a message has no attribute.
func newRoute(h header) *route {
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if h.ipv6() {
		everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return &route{header: h, dst: everywhere, one: hop{flags: byte(h.flags)}, table: uint32(h.table), expires: -1}
}

// read reads the attributes that follow the header.
func (r *route) read(attrs []byte) error {
	d, err := netlink.NewAttributeDecoder(attrs)
	if err != nil {
		return err
	}
	for d.Next() {
		switch d.Type() {
		case unix.RTA_DST:
			r.dst, _ = prefixOf(d.Bytes(), r.dstLen)
		case unix.RTA_SRC:
			r.src, _ = prefixOf(d.Bytes(), r.srcLen)
		case unix.RTA_OIF:
			r.one.index = d.Uint32()
		case unix.RTA_GATEWAY:
			r.one.gateway, _ = netip.AddrFromSlice(d.Bytes())
		case unix.RTA_VIA:
			r.one.gateway = via(d.Bytes())
		case unix.RTA_FLOW:
			r.one.flow = d.Uint32()
		case unix.RTA_PRIORITY:
			r.metric = d.Uint32()
		case unix.RTA_PREFSRC:
			r.prefSrc, _ = netip.AddrFromSlice(d.Bytes())
		case unix.RTA_METRICS:
			d.Nested(r.metrics.metrics)
		case unix.RTA_MULTIPATH:
			if r.many, err = decodeNexthops(d.Bytes()); err != nil {
				return err
			}
		case unix.RTA_TABLE:
			r.table = d.Uint32()
		case unix.RTA_PREF:
			r.pref = preferences[d.Uint8()]
		case unix.RTA_CACHEINFO:
			r.expires = expiry(d.Bytes())
		case rtaNhID:
			r.object = d.Uint32()
		default:
			r.one.encap.attribute(d.Type(), d)
		}
	}
	return d.Err()
}

// expiry returns in how many seconds a route expires; -1: never. It reads the third field
// of struct rta_cacheinfo, which is 0 for routes that do not expire.
func expiry(cacheInfo []byte) int64 {
	if len(cacheInfo) < 12 {
		return -1
	}
	e := int32(hostUint32(cacheInfo[8:])) //nolint:gosec // it is signed there
	if e == 0 {
		return -1
	}
	return max(int64(e)/userHZ, 0)
}

// expressible tells whether a statement can say how packets are encapsulated. Without
// its encapsulation, the route would be another one.
func (r *route) expressible() bool {
	if r.object != 0 {
		return true // the object has the encapsulation
	}
	return !slices.ContainsFunc(append(r.many, r.one), func(h hop) bool { _, ok := h.encap.text(); return !ok })
}

// omitted tells whether the route is left out. The kernel itself makes the routes to this
// host's own addresses and to multicast. An invalid destination cannot be written.
func (r *route) omitted() bool {
	if !r.dst.IsValid() || r.dst.Addr().IsMulticast() {
		return true
	}
	own := r.table == unix.RT_TABLE_LOCAL || r.kind == unix.RTN_LOCAL || r.dst.Addr().IsLinkLocalUnicast()
	return r.protocol == unix.RTPROT_KERNEL && own
}

// statement writes the route, with the arguments in the order of ip-route(8).
func (r *route) statement(names linkNames) *Statement {
	s := &statement{Statement{Verb: r.verb("route")}}
	r.destination(s)
	r.way(s, names)
	if r.prefSrc.IsValid() {
		s.add("src", r.prefSrc)
	}
	if r.metric != 0 {
		s.add("metric", r.metric)
	}
	if r.tos != 0 {
		s.add("tos", fmt.Sprintf("%#x", r.tos)) // ip(8) always reads it as hexadecimal
	}
	s.Args = append(s.Args, r.metrics.Args...)
	if r.pref != "" && r.pref != "medium" {
		s.add("pref", r.pref)
	}
	if r.expires >= 0 {
		s.add("expires", r.expires)
	}
	if r.object == 0 {
		for i := range r.many {
			s.flag("nexthop")
			s.hop(&r.many[i], r.ipv6(), names)
		}
	}
	return &s.Statement
}

// destination adds the kind of the route, and which packets it is for.
func (r *route) destination(s *statement) {
	if kind := types[r.kind]; kind != "" {
		s.flag(kind)
	}
	to := shown(r.dst)
	if r.dst.Bits() == 0 {
		to = "default"
	}
	s.add("", to)
	if r.src.IsValid() && r.src.Bits() > 0 {
		s.add("from", shown(r.src))
	}
}

// way adds the next hop, and the table, originator and scope where they are not those
// that ip(8) assumes.
func (r *route) way(s *statement, names linkNames) {
	one, usual := r.one, uint32(unix.RT_TABLE_MAIN)
	switch {
	case r.kind == unix.RTN_LOCAL:
		usual = unix.RT_TABLE_LOCAL
	case types[r.kind] != "":
		one.index = 0 // the kernel says lo
	}
	switch {
	case r.object != 0:
		s.add("nhid", r.object)
	case len(r.many) == 0:
		s.hop(&one, r.ipv6(), names)
	}
	if r.table != usual {
		s.add("table", tableName(r.table))
	}
	s.protocol("proto", r.protocol)
	if r.ipv6() {
		return // routes of IPv6 have no scope
	}
	near := !one.gateway.IsValid() && len(r.many) == 0 && r.object == 0
	if r.scope != usualScope(r.kind, near) || r.scope == unix.RT_SCOPE_LINK {
		s.add("scope", scopeName(int(r.scope)))
	}
}

// usualScope returns the scope that ip(8) gives to IPv4 routes without one. near means
// without a gateway.
func usualScope(kind byte, near bool) byte {
	switch {
	case kind == unix.RTN_LOCAL:
		return unix.RT_SCOPE_HOST
	case kind == unix.RTN_UNICAST && near:
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

// scopeName returns a scope in the words of ip(8).
func scopeName(scope int) string {
	switch scope {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_SITE:
		return "site"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	}
	return strconv.Itoa(scope)
}

// preferences are the words for those of RFC 4191.
var preferences = map[byte]string{0: "medium", 1: "high", 3: "low"}

// routeMetrics are the words for the metrics of a route (RTAX_ of linux/rtnetlink.h).
// The round-trip times of a path are left out.
var routeMetrics = map[uint16]string{
	2: "mtu", 3: "window", 6: "ssthresh", 7: "cwnd", 8: "advmss", 9: "reordering", 10: "hoplimit", 11: "initcwnd", 14: "initrwnd",
	15: "quickack", 17: "fastopen_no_cookie",
}

func (s *statement) metrics(d *netlink.AttributeDecoder) error {
	const lock, features, rtoMin, algorithm = 1, 12, 13, 16
	const ecn = 1
	locks := uint32(0)
	metrics := map[string]uint16{}
	for d.Next() {
		switch t := d.Type(); {
		case t == lock:
			locks = d.Uint32()
		case t == algorithm:
			s.add("congctl", d.String())
		case t == features:
			if d.Uint32()&ecn != 0 { // ip(8) has words for few other features
				s.add("features", "ecn")
			}
		case t == rtoMin: // ip(8) locks this one
			s.add("rto_min", fmt.Sprintf("%dms", d.Uint32()))
		case routeMetrics[t] != "":
			metrics[routeMetrics[t]] = t
			s.add(routeMetrics[t], d.Uint32())
		}
	}
	for i := range s.Args {
		a := &s.Args[i]
		if t, ok := metrics[a.Key]; ok && locks&(1<<t) != 0 && grammars["route"].words[a.Key] == locked {
			a.Value = "lock " + a.Value
		}
	}
	return nil // the outer decoder reports the error
}

// Attributes of next-hop objects (linux/nexthop.h).
const (
	nhaID, nhaGroup, nhaBlackhole, nhaOIF, nhaGateway, nhaEncapType, nhaEncap, nhaFDB = 1, 2, 4, 5, 6, 7, 8, 11
	nhHeaderLen                                                                       = 8
	nhGroupEntry                                                                      = 8
)

// decodeNexthop reads a next-hop object. ok is false for those of a bridge.
func decodeNexthop(b []byte, names linkNames) (*Statement, bool, error) {
	if len(b) < nhHeaderLen {
		return nil, false, errShort
	}
	d, err := netlink.NewAttributeDecoder(b[nhHeaderLen:])
	if err != nil {
		return nil, false, err
	}
	s := &statement{Statement{Verb: "nexthop"}}
	h := hop{flags: byte(hostUint32(b[4:]))}
	fdb, blackhole := false, false
	group := ""
	for d.Next() {
		switch d.Type() {
		case nhaID:
			s.add("id", d.Uint32())
		case nhaGroup:
			group = decodeGroup(d.Bytes())
		case nhaBlackhole:
			blackhole = true
		case nhaOIF:
			h.index = d.Uint32()
		case nhaGateway:
			h.gateway, _ = netip.AddrFromSlice(d.Bytes())
		case nhaFDB:
			fdb = true
		case nhaEncapType:
			h.encap.attribute(unix.RTA_ENCAP_TYPE, d)
		case nhaEncap:
			h.encap.attribute(unix.RTA_ENCAP, d)
		}
	}
	if err := d.Err(); err != nil {
		return nil, false, err
	}
	if fdb || len(s.Args) == 0 {
		return nil, false, nil
	}
	if b[0] == unix.AF_INET6 && group == "" && !h.gateway.IsValid() {
		s.Verb = "nexthop6"
	}
	switch {
	case group != "":
		s.add("group", group)
	case blackhole:
		s.flag("blackhole")
	default:
		s.hop(&h, h.gateway.Is6(), names)
	}
	return &s.Statement, true, nil
}

// decodeGroup reads entries of struct nexthop_grp.
func decodeGroup(b []byte) string {
	var parts []string
	for ; len(b) >= nhGroupEntry; b = b[nhGroupEntry:] {
		part := strconv.FormatUint(uint64(hostUint32(b)), 10)
		if weight := int(b[4]) + 1; weight > 1 {
			part += "," + strconv.Itoa(weight)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/")
}
