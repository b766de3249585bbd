package doctor

import (
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

// priorityMain is that of the rule that leads to table main (ip-rule(8)).
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

// place finds where a rule by source must come to lead what is sent from the prefix
// to its own default route: before the rule that leads it elsewhere. suppress is the longest
// prefix of table main by which that happens: 0 for default routes, 1 for halves.
func (r *ruler) place(p *netmon.Prefix) (priority, suppress int, err error) {
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
	tables := map[int]bool{}
	for _, dst := range list {
		a, err := r.kernel.Match(oracle.Question{Dst: dst, Src: p.Addrs[0]})
		if err != nil {
			return 0, 0, err
		}
		if a.Verdict != oracle.Sent || a.Index == p.Index {
			continue
		}
		tables[a.Table] = true
		if a.Table == netmon.TableMain {
			suppress = max(suppress, a.Prefix.Bits())
		}
	}
	for i := range r.rules {
		rule := &r.rules[i]
		if (rule.Family == netlink.FAMILY_V6) == v6 && tables[rule.Table] && (rule.Src == nil || rule.Src.Contains(net.IP(p.Addrs[0].AsSlice()))) && rule.Priority > 0 {
			return rule.Priority - 1, suppress, nil
		}
	}
	return priorityMain - 1, suppress, nil
}

// diversions are the rules by marks or by users that send what comes from one of the
// prefixes elsewhere than it would go otherwise.
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

// describe shows a rule in the words of ip-rule(8), as far as they tell which it is.
func describe(r *netlink.Rule) string {
	s := fmt.Sprintf("rule %d:", r.Priority)
	if r.Mark != 0 {
		s += fmt.Sprintf(" fwmark %#x", r.Mark)
		if r.Mask != nil {
			s += fmt.Sprintf("/%#x", *r.Mask)
		}
	}
	if r.UIDRange != nil {
		s += fmt.Sprintf(" uidrange %d-%d", r.UIDRange.Start, r.UIDRange.End)
	}
	if r.Table > 0 {
		s += fmt.Sprintf(" lookup %d", r.Table)
	}
	return s
}
