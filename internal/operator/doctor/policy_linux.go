package doctor

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/routing"
)

// priorityMain is the priority of the rule that leads to table main (ip-rule(8)).
const priorityMain = 32766

// ruler looks at the policy rules of a host, and asks the kernel what they do.
type ruler struct {
	kernel     *oracle.Kernel
	everywhere oracle.Everywhere
	rules      []netlink.Rule // of both families, by priority
}

func newRuler(namespace int, e oracle.Everywhere) (*ruler, error) {
	k, err := oracle.Open(namespace)
	if err != nil {
		return nil, err
	}
	ns := netns.None()
	if namespace != 0 {
		ns = netns.NsHandle(namespace)
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		k.Close()
		return nil, err
	}
	defer h.Close()
	rules, err := h.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("read the policy rules: %w", err)
	}
	slices.SortStableFunc(rules, func(a, b netlink.Rule) int { return a.Priority - b.Priority })
	return &ruler{kernel: k, everywhere: e, rules: rules}, nil
}

func (r *ruler) close() { r.kernel.Close() }

// place is where a rule by source has to be, so that packets from a prefix take the
// prefix's own default route.
type place struct {
	priority int // directly before the rule that leads it elsewhere
	// suppress is the length of the longest prefix in table main that leads elsewhere: 0
	// for a default route, 1 for two routes to half of all addresses each.
	suppress int
	before   *netlink.Rule // that rule; nil if none was found
}

// place finds the place of rules for a prefix.
func (r *ruler) place(p *netmon.Prefix) (place, error) {
	v6 := p.Addrs[0].Is6()
	list := r.everywhere.V4
	if v6 {
		list = r.everywhere.V6
	}
	if d := oracle.Destinations(); len(list) == 0 && v6 {
		list = d.V6
	} else if len(list) == 0 {
		list = d.V4
	}
	x := place{priority: priorityMain - 1}
	tables := map[int]bool{}
	for _, dst := range list {
		a, err := r.kernel.Match(oracle.Question{Dst: dst, Src: p.Addrs[0]})
		if err != nil {
			return place{}, err
		}
		if a.Verdict != oracle.Sent || a.Index == p.Index {
			continue
		}
		tables[a.Table] = true
		if a.Table == netmon.TableMain {
			x.suppress = max(x.suppress, a.Prefix.Bits())
		}
	}
	for i := range r.rules {
		rule := &r.rules[i]
		if (rule.Family == netlink.FAMILY_V6) == v6 && tables[rule.Table] && (rule.Src == nil || rule.Src.Contains(net.IP(p.Addrs[0].AsSlice()))) && rule.Priority > 0 {
			x.priority, x.before = rule.Priority-1, rule
			break
		}
	}
	return x, nil
}

// foreign is a rule of somebody else that comes before mamma's rules, and leads packets
// elsewhere that mamma's rules would lead to the prefix's default route. The zero value
// says that there is none.
func (x *place) foreign() Foreign {
	if x.before == nil || x.before.Priority > routing.OwnPriority || x.before.Protocol == routing.Protocol {
		return Foreign{}
	}
	return Foreign{Priority: x.before.Priority, Words: words(x.before)}
}

// diversions are the rules by mark or by user that send packets from one of the prefixes
// another way than other rules would.
func (r *ruler) diversions(prefixes []netmon.Prefix) (marks, users []Diversion, err error) {
	for i := range r.rules {
		rule := &r.rules[i]
		q := oracle.Question{}
		switch {
		case rule.Invert:
			continue // packets without the mark: the ordinary ones
		case rule.Mark != 0:
			q.Mark = rule.Mark
		case rule.UIDRange != nil:
			q.User = &rule.UIDRange.Start
		default:
			continue
		}
		d := Diversion{Rule: describe(rule)}
		for j := range prefixes {
			p := &prefixes[j]
			if p.Addrs[0].Is6() != (rule.Family == netlink.FAMILY_V6) || p.Egress != p.Index {
				continue
			}
			q.Src = p.Addrs[0]
			w, err := r.everywhere.Far(r.kernel, p.Addrs[0].Is6(), q)
			if err != nil {
				return nil, nil, err
			}
			if w.Verdict.Refused() || w.Verdict == oracle.Sent && !w.Shared && w.Index != p.Index {
				d.Prefixes = append(d.Prefixes, p.Prefix.String()+" on "+p.Interface)
			}
		}
		if len(d.Prefixes) == 0 {
			continue
		}
		if q.User != nil {
			d.Users = fmt.Sprintf("%d-%d", rule.UIDRange.Start, rule.UIDRange.End)
			users = append(users, d)
		} else {
			marks = append(marks, d)
		}
	}
	return marks, users, nil
}

// describe shows a rule as ip-rule(8) lists it.
func describe(r *netlink.Rule) string { return fmt.Sprintf("rule %d: %s", r.Priority, words(r)) }

// words are the arguments of ip-rule(8) that make the same rule, without its priority.
func words(r *netlink.Rule) string {
	var list []string
	add := func(holds bool, format string, v ...any) {
		if holds {
			list = append(list, fmt.Sprintf(format, v...))
		}
	}
	add(r.Invert, "not")
	add(r.Src == nil, "from all")
	add(r.Src != nil, "from %v", r.Src)
	add(r.Dst != nil, "to %v", r.Dst)
	add(r.Tos != 0, "tos %#x", r.Tos)
	switch {
	case r.Mask != nil && *r.Mask != math.MaxUint32 && (r.Mark != 0 || *r.Mask != 0): // that of mark 0 is for what has none of its bits
		add(true, "fwmark %#x/%#x", r.Mark, *r.Mask)
	default:
		add(r.Mark != 0, "fwmark %#x", r.Mark)
	}
	add(r.IifName != "", "iif %s", display.ShellQuote(r.IifName))
	add(r.OifName != "", "oif %s", display.ShellQuote(r.OifName))
	if r.UIDRange != nil {
		add(true, "uidrange %d-%d", r.UIDRange.Start, r.UIDRange.End)
	}
	add(r.IPProto > 0, "ipproto %d", r.IPProto)
	if r.Sport != nil {
		add(true, "sport %d-%d", r.Sport.Start, r.Sport.End)
	}
	if r.Dport != nil {
		add(true, "dport %d-%d", r.Dport.Start, r.Dport.End)
	}
	add(r.Table > 0, "lookup %d", r.Table)
	add(r.SuppressPrefixlen >= 0, "suppress_prefixlength %d", r.SuppressPrefixlen)
	add(r.SuppressIfgroup >= 0, "suppress_ifgroup %d", r.SuppressIfgroup)
	return strings.Join(list, " ")
}
