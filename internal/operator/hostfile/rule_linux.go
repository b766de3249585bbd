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

// decodeRule reads a rule. ok is false if no statement can express it.
func decodeRule(b []byte) (*Statement, bool, error) {
	h, attrs, err := decodeHeader(b)
	if err != nil {
		return nil, false, err
	}
	d, err := netlink.NewAttributeDecoder(attrs)
	if err != nil {
		return nil, false, err
	}
	var src, dst netip.Prefix
	var priority, target, mark, mask, flow uint32
	table := uint32(h.table)
	group, length := ^uint32(0), ^uint32(0)
	var conditions statement
	l3mdev := false
	var protocol byte
	for d.Next() {
		switch d.Type() {
		case fraDst:
			dst, _ = prefixOf(d.Bytes(), h.dstLen)
		case fraSrc:
			src, _ = prefixOf(d.Bytes(), h.srcLen)
		case fraIifname:
			conditions.add("iif", d.String())
		case fraOifname:
			conditions.add("oif", d.String())
		case fraGoto:
			target = d.Uint32()
		case fraPriority:
			priority = d.Uint32()
		case fraFwmark:
			mark = d.Uint32()
		case fraFwmask:
			mask = d.Uint32()
		case fraFlow:
			flow = d.Uint32()
		case fraSuppressGroup:
			group = d.Uint32()
		case fraSuppressLen:
			length = d.Uint32()
		case fraTable:
			table = d.Uint32()
		case fraL3mdev:
			l3mdev = d.Uint8() != 0
		case fraUIDRange:
			if r := d.Bytes(); len(r) == 8 {
				conditions.add("uidrange", span32(hostUint32(r), hostUint32(r[4:])))
			}
		case fraProtocol:
			protocol = d.Uint8()
		case fraIPProto:
			conditions.add("ipproto", d.Uint8())
		case fraSport:
			conditions.ports("sport", d.Bytes())
		case fraDPort:
			conditions.ports("dport", d.Bytes())
		}
	}
	if err := d.Err(); err != nil {
		return nil, false, err
	}
	s := &statement{Statement{Verb: h.verb("rule")}}
	s.add("", priority)
	if h.flags&fibRuleInvert != 0 {
		s.flag("not")
	}
	from := "all"
	if src.IsValid() {
		from = shown(src)
	}
	s.add("from", from)
	if dst.IsValid() {
		s.add("to", shown(dst))
	}
	if mark != 0 || mask != 0 {
		s.add("fwmark", fmt.Sprintf("%#x/%#x", mark, mask))
	}
	if h.tos != 0 {
		s.add("tos", fmt.Sprintf("%#x", h.tos)) // ip(8) always reads it as hexadecimal
	}
	s.Args = append(s.Args, conditions.Args...)
	switch {
	case h.kind == frActGoto:
		s.add("goto", target)
	case h.kind == frActNop:
		s.flag("nop")
	case l3mdev:
		s.flag("l3mdev")
	case types[h.kind] != "" && h.kind != unix.RTN_THROW && h.kind != unix.RTN_LOCAL:
		s.flag(types[h.kind])
	case h.kind == unix.RTN_UNICAST:
		s.add("lookup", tableName(table))
	default:
		return nil, false, nil
	}
	s.realms(flow)
	if length != ^uint32(0) {
		s.add("suppress_prefixlength", length)
	}
	if group != ^uint32(0) {
		s.add("suppress_ifgroup", group)
	}
	if protocol != unix.RTPROT_KERNEL {
		s.protocol("protocol", protocol)
	}
	return &s.Statement, true, nil
}

func span32(a, b uint32) string {
	return strconv.FormatUint(uint64(a), 10) + "-" + strconv.FormatUint(uint64(b), 10)
}

func (s *statement) ports(key string, b []byte) {
	if len(b) == 4 {
		s.add(key, fmt.Sprintf("%d-%d", hostUint16(b), hostUint16(b[2:])))
	}
}
