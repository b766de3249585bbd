package hostfile

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes of rules that package unix lacks (linux/fib_rules.h).
const (
	fraDst, fraSrc, fraIifname, fraGoto, fraPriority, fraFwmark         = 1, 2, 3, 4, 6, 10
	fraFlow                                                             = 11
	fraSuppressGroup, fraSuppressLen, fraTable, fraFwmask, fraOifname   = 13, 14, 15, 16, 17
	fraL3mdev, fraUIDRange, fraProtocol, fraIPProto, fraSport, fraDPort = 19, 20, 21, 22, 23, 24

	frActGoto, frActNop = 2, 3
	fibRuleInvert       = 2
)

// rule is a rule as the kernel lists it. The zero value of a number or a prefix means
// that the rule does not have it, except for suppressGroup and suppressLen, which have
// noSuppression then.
type rule struct {
	header
	src, dst         netip.Prefix
	priority, target uint32 // target is the priority of the rule that goto leads to
	mark, mask       uint32
	flow             uint32 // realms
	table            uint32
	suppressGroup    uint32
	suppressLen      uint32
	l3mdev           bool
	protocol         byte
	conditions       statement // further ones, in the order of the kernel
}

const noSuppression = ^uint32(0)

// decodeRule reads a rule. ok is false if no statement can express it.
func decodeRule(b []byte) (*Statement, bool, error) {
	h, attrs, err := decodeHeader(b)
	if err != nil {
		return nil, false, err
	}
	r := rule{header: h, table: uint32(h.table), suppressGroup: noSuppression, suppressLen: noSuppression}
	if err := r.read(attrs); err != nil {
		return nil, false, err
	}
	s, ok := r.statement()
	return s, ok, nil
}

// read takes the attributes of a rule.
func (r *rule) read(attrs []byte) error {
	d, err := netlink.NewAttributeDecoder(attrs)
	if err != nil {
		return err
	}
	for d.Next() {
		switch d.Type() {
		case fraDst:
			r.dst, _ = prefixOf(d.Bytes(), r.dstLen)
		case fraSrc:
			r.src, _ = prefixOf(d.Bytes(), r.srcLen)
		case fraIifname:
			r.conditions.add("iif", d.String())
		case fraOifname:
			r.conditions.add("oif", d.String())
		case fraGoto:
			r.target = d.Uint32()
		case fraPriority:
			r.priority = d.Uint32()
		case fraFwmark:
			r.mark = d.Uint32()
		case fraFwmask:
			r.mask = d.Uint32()
		case fraFlow:
			r.flow = d.Uint32()
		case fraSuppressGroup:
			r.suppressGroup = d.Uint32()
		case fraSuppressLen:
			r.suppressLen = d.Uint32()
		case fraTable:
			r.table = d.Uint32()
		case fraL3mdev:
			r.l3mdev = d.Uint8() != 0
		case fraUIDRange:
			if b := d.Bytes(); len(b) == 8 {
				r.conditions.add("uidrange", span32(hostUint32(b), hostUint32(b[4:])))
			}
		case fraProtocol:
			r.protocol = d.Uint8()
		case fraIPProto:
			r.conditions.add("ipproto", d.Uint8())
		case fraSport:
			r.conditions.ports("sport", d.Bytes())
		case fraDPort:
			r.conditions.ports("dport", d.Bytes())
		}
	}
	return d.Err()
}

// statement says r in the words of ip-rule(8). ok is false if that has no word for what
// the rule does.
func (r *rule) statement() (_ *Statement, ok bool) {
	s := &statement{Statement{Verb: r.verb("rule")}}
	s.add("", r.priority)
	if r.flags&fibRuleInvert != 0 {
		s.flag("not")
	}
	r.selector(s)
	if !r.action(s) {
		return nil, false
	}
	s.realms(r.flow)
	if r.suppressLen != noSuppression {
		s.add("suppress_prefixlength", r.suppressLen)
	}
	if r.suppressGroup != noSuppression {
		s.add("suppress_ifgroup", r.suppressGroup)
	}
	if r.protocol != unix.RTPROT_KERNEL {
		s.protocol("protocol", r.protocol)
	}
	return &s.Statement, true
}

// selector says which packets the rule is for.
func (r *rule) selector(s *statement) {
	from := "all"
	if r.src.IsValid() {
		from = shown(r.src)
	}
	s.add("from", from)
	if r.dst.IsValid() {
		s.add("to", shown(r.dst))
	}
	if r.mark != 0 || r.mask != 0 {
		s.add("fwmark", fmt.Sprintf("%#x/%#x", r.mark, r.mask))
	}
	if r.tos != 0 {
		s.add("tos", fmt.Sprintf("%#x", r.tos)) // ip(8) always reads it as hexadecimal
	}
	s.Args = append(s.Args, r.conditions.Args...)
}

// action says what becomes of these packets, and returns false if there is no word for
// that.
func (r *rule) action(s *statement) bool {
	switch {
	case r.kind == frActGoto:
		s.add("goto", r.target)
	case r.kind == frActNop:
		s.flag("nop")
	case r.l3mdev:
		s.flag("l3mdev")
	case types[r.kind] != "" && r.kind != unix.RTN_THROW && r.kind != unix.RTN_LOCAL:
		s.flag(types[r.kind])
	case r.kind == unix.RTN_UNICAST:
		s.add("lookup", tableName(r.table))
	default:
		return false
	}
	return true
}

func span32(a, b uint32) string {
	return strconv.FormatUint(uint64(a), 10) + "-" + strconv.FormatUint(uint64(b), 10)
}

func (s *statement) ports(key string, b []byte) {
	if len(b) == 4 {
		s.add(key, fmt.Sprintf("%d-%d", hostUint16(b), hostUint16(b[2:])))
	}
}
