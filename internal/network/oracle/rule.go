package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Rule is a policy rule (ip-rule(8)). If a condition is zero, the rule does not look at
// it.
type Rule struct {
	V6       bool
	Priority int
	Action   uint8 // FR_ACT_TO_TBL and others of linux/fib_rules.h
	Table    int   // the table to look into; 0: none, the rule does something else
	Goto     int   // priority of the rule to continue with; 0: the next one
	// Passes is suppress_prefixlength plus one: routes in the table with a shorter
	// prefix than Passes do not count. 0 means that all routes count.
	Passes int
	// PassesGroup is suppress_ifgroup plus one: routes to interfaces of that group do
	// not count. 0 means that all routes count.
	PassesGroup int
	Maker       uint8 // the program that made it (RTPROT_)

	Invert      bool // the rule holds if the conditions do not
	Source, Dst netip.Prefix
	Mark, Mask  uint32 // a mark of 0 with a mask is also a condition
	TOS         uint8
	In, Out     string // interfaces
	// Users tells that the rule is only for the users from FirstUser to LastUser.
	Users               bool
	FirstUser, LastUser uint32
	Protocol            uint8 // of IP
	Port, SourcePort    bool
	// Ports and SourcePorts are ranges, first and last included. They count if Port and
	// SourcePort are set.
	Ports, SourcePorts [2]uint16
	// Other tells that the rule has conditions which this type lacks, such as the
	// identifier of a tunnel.
	Other bool
}

// Actions of rules (linux/fib_rules.h).
const (
	actTable, actGoto, actNop                   = 1, 2, 3
	actBlackhole, actUnreachable, actProhibit   = 6, 7, 8
	fraDst, fraSrc, fraIn, fraGoto, fraPriority = 1, 2, 3, 4, 6
	fraMark, fraRealms, fraGroup, fraLength     = 10, 11, 13, 14
	fraTable, fraMask, fraOut, fraPad           = 15, 16, 17, 18
	fraL3, fraUsers, fraMaker, fraProtocol      = 19, 20, 21, 22
	fraSourcePort, fraPort                      = 23, 24
	fraSourceMask, fraPortMask                  = 28, 29

	ruleInvert = 2 // FIB_RULE_INVERT
)

// Refuses returns the Verdict if the rule refuses or drops its packets; else NoRoute.
func (r *Rule) Refuses() Verdict {
	switch r.Action {
	case actBlackhole:
		return Dropped
	case actUnreachable:
		return Unreachable
	case actProhibit:
		return Prohibited
	}
	return NoRoute
}

// Jump returns the priority of the rule that comes next if this one holds (goto); 0: it
// does not jump.
func (r *Rule) Jump() int {
	if r.Action == actGoto {
		return r.Goto
	}
	return 0
}

// Conditional tells whether the rule looks at anything else than the source.
func (r *Rule) Conditional() bool {
	return r.Invert || r.Mark != 0 || r.Mask != 0 || r.TOS != 0 || r.Dst.IsValid() || r.In != "" || r.Out != "" || r.Users ||
		r.Protocol != 0 || r.Port || r.SourcePort || r.Other || r.Passes > 0 || r.PassesGroup > 0
}

// Holds tells whether the rule holds for what an ordinary socket sends from a: a socket
// without mark and device, of any user, to any destination. A rule for all but a few
// destinations, users or ports ("not to", "not uidrange") counts as one for all of them. may
// tells whether there are any sockets and destinations for which it holds.
func (r *Rule) Holds(a netip.Addr) (holds, may bool) {
	if r.V6 != a.Is6() {
		return false, false
	}
	// Packets that this host sends come in by loopback.
	never := r.Source.IsValid() && !r.Source.Contains(a) || r.In != "" && r.In != "lo"
	// These conditions hold for some of the packets.
	some := r.Dst.IsValid() || r.Mark != 0 || r.TOS != 0 || r.Out != "" || r.Users && !r.allUsers() ||
		r.Protocol != 0 || r.Port || r.SourcePort || r.Other
	if r.Invert {
		// With "not fwmark 1" the rule is for all packets without the mark, and these are the
		// ordinary ones. It holds unless all conditions do, so one that few packets meet is enough.
		few := r.Dst.IsValid() && !wide(r.Dst) || r.Mark != 0 || r.TOS != 0 || r.Out != "" || r.Users && r.fewUsers() ||
			r.Protocol != 0 && r.Protocol != unix.IPPROTO_TCP && r.Protocol != unix.IPPROTO_UDP || r.Port || r.SourcePort || r.Other
		return never || few, never || some
	}
	return !never && !some, !never
}

// fewUsers tells whether the range contains at most one of the users who log in
// (login.defs(5), UID_MIN and UID_MAX). Services have other numbers.
func (r *Rule) fewUsers() bool {
	const first, last = 1000, 60000
	return min(r.LastUser, last) <= max(r.FirstUser, first)
}

// allUsers tells whether the range contains every user, apart from the id that stands
// for none.
func (r *Rule) allUsers() bool {
	const last = 1<<32 - 2
	return r.FirstUser == 0 && r.LastUser >= last
}

// Words returns the arguments of ip-rule(8) that make the same rule, without the
// priority. quote writes names of interfaces.
func (r *Rule) Words(quote func(string) string) string {
	var list []string
	add := func(holds bool, format string, v ...any) {
		if holds {
			list = append(list, fmt.Sprintf(format, v...))
		}
	}
	add(r.Invert, "not")
	add(!r.Source.IsValid(), "from all")
	add(r.Source.IsValid(), "from %v", r.Source)
	add(r.Dst.IsValid(), "to %v", r.Dst)
	add(r.TOS != 0, "tos %#x", r.TOS)
	if r.Mark != 0 || r.Mask != 0 {
		add(r.Mask == math.MaxUint32, "fwmark %#x", r.Mark)
		add(r.Mask != math.MaxUint32, "fwmark %#x/%#x", r.Mark, r.Mask)
	}
	add(r.In != "", "iif %s", quote(r.In))
	add(r.Out != "", "oif %s", quote(r.Out))
	add(r.Users, "uidrange %d-%d", r.FirstUser, r.LastUser)
	add(r.Protocol != 0, "ipproto %d", r.Protocol)
	add(r.SourcePort, "sport %d-%d", r.SourcePorts[0], r.SourcePorts[1])
	add(r.Port, "dport %d-%d", r.Ports[0], r.Ports[1])
	switch r.Action {
	case actGoto:
		add(true, "goto %d", r.Goto)
	case actNop:
		add(true, "nop")
	case actBlackhole:
		add(true, "blackhole")
	case actUnreachable:
		add(true, "unreachable")
	case actProhibit:
		add(true, "prohibit")
	default:
		add(r.Table > 0, "lookup %d", r.Table)
	}
	add(r.Passes > 0, "suppress_prefixlength %d", r.Passes-1)
	add(r.PassesGroup > 0, "suppress_ifgroup %d", r.PassesGroup-1)
	return strings.Join(list, " ")
}

// Rules calls each for the policy rules of a family, in the order in which the kernel
// applies them. An error that wraps ErrInterrupted comes after all rules were passed.
func (k *Kernel) Rules(v6 bool, each func(*Rule)) error {
	request := func(seq uint32) []byte {
		b := make([]byte, headerLen+rtMsgLen)
		b[headerLen] = unix.AF_INET
		if v6 {
			b[headerLen] = unix.AF_INET6
		}
		return finish(b, unix.RTM_GETRULE, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, seq)
	}
	err := k.dump(request, func(body []byte) error {
		r, err := decodeRule(body)
		if err == nil && r.V6 == v6 {
			each(&r)
		}
		return err
	})
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the kernel lacks the family
	}
	return err
}

// decodeRule reads the body of an RTM_NEWRULE (struct fib_rule_hdr).
func decodeRule(b []byte) (Rule, error) {
	var r Rule
	if len(b) < rtMsgLen {
		return r, errMalformed
	}
	zero := netip.IPv4Unspecified()
	switch b[0] {
	case unix.AF_INET:
	case unix.AF_INET6:
		r.V6, zero = true, netip.IPv6Unspecified()
	default:
		return r, errMalformed
	}
	dstBits, srcBits := int(b[1]), int(b[2])
	r.TOS, r.Table, r.Action = b[3], int(b[4]), b[7]
	r.Invert = binary.NativeEndian.Uint32(b[8:])&ruleInvert != 0
	err := attributes(b[rtMsgLen:], func(kind uint16, data []byte) (err error) {
		switch kind {
		case fraDst:
			r.Dst, err = prefix(data, zero.BitLen(), dstBits)
		case fraSrc:
			r.Source, err = prefix(data, zero.BitLen(), srcBits)
		case fraIn:
			r.In = text(data)
		case fraOut:
			r.Out = text(data)
		case fraUsers:
			if len(data) != 8 {
				return errMalformed
			}
			r.Users, r.FirstUser, r.LastUser = true, binary.NativeEndian.Uint32(data), binary.NativeEndian.Uint32(data[4:])
		case fraMaker, fraProtocol:
			if len(data) != 1 {
				return errMalformed
			}
			if kind == fraMaker {
				r.Maker = data[0]
			} else {
				r.Protocol = data[0]
			}
		case fraPort:
			r.Port = true
			r.Ports, err = ports(data)
		case fraSourcePort:
			r.SourcePort = true
			r.SourcePorts, err = ports(data)
		case fraL3:
			r.Other = r.Other || slices.ContainsFunc(data, func(b byte) bool { return b != 0 })
		case fraRealms, fraPad, fraSourceMask, fraPortMask: // these are not conditions, or parts of others
		default:
			err = r.number(kind, data)
		}
		return err
	})
	if r.Action != actTable {
		r.Table = 0
	}
	return r, err
}

// number reads an attribute of 32 bits. An unknown attribute sets Other.
func (r *Rule) number(kind uint16, data []byte) error {
	switch kind {
	case fraGoto, fraPriority, fraMark, fraMask, fraTable, fraLength, fraGroup:
	default:
		r.Other = true
		return nil
	}
	if len(data) < 4 {
		return errMalformed
	}
	n := binary.NativeEndian.Uint32(data)
	switch kind {
	case fraGoto:
		r.Goto = int(n)
	case fraPriority:
		r.Priority = int(n)
	case fraMark:
		r.Mark = n
	case fraMask:
		r.Mask = n
	case fraTable:
		r.Table = int(n)
	case fraLength:
		if n != ^uint32(0) {
			r.Passes = int(n) + 1
		}
	case fraGroup:
		if n != ^uint32(0) {
			r.PassesGroup = int(n) + 1
		}
	}
	return nil
}

func prefix(data []byte, bitLen, bits int) (netip.Prefix, error) {
	a, err := addr(data, bitLen)
	if err != nil {
		return netip.Prefix{}, err
	}
	p := netip.PrefixFrom(a, bits)
	if !p.IsValid() {
		return netip.Prefix{}, errMalformed
	}
	return p, nil
}

func ports(data []byte) ([2]uint16, error) {
	if len(data) != 4 {
		return [2]uint16{}, errMalformed
	}
	return [2]uint16{binary.NativeEndian.Uint16(data), binary.NativeEndian.Uint16(data[2:])}, nil
}

// text returns a name without its final zero byte.
func text(data []byte) string {
	s, _, _ := strings.Cut(string(data), "\x00")
	return s
}
