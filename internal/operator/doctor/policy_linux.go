package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/routing"
)

// priorityMain is the priority of the kernel's rule for table main (ip-rule(8)).
const priorityMain = 32766

// ruler looks at the policy rules of a host, and asks the kernel about their effect.
type ruler struct {
	kernel     oracle.Turning
	everywhere oracle.Everywhere
	rules      []oracle.Rule // of both families, by priority
}

func newRuler(namespace int, e oracle.Everywhere, turn oracle.Turn) (*ruler, error) {
	k, err := oracle.Open(namespace)
	if err != nil {
		return nil, err
	}
	var rules []oracle.Rule
	for _, v6 := range []bool{false, true} {
		if err := k.Rules(v6, func(r *oracle.Rule) { rules = append(rules, *r) }); err != nil && !errors.Is(err, oracle.ErrInterrupted) {
			k.Close()
			return nil, fmt.Errorf("read the policy rules: %w", err)
		}
	}
	slices.SortStableFunc(rules, func(a, b oracle.Rule) int { return a.Priority - b.Priority })
	return &ruler{kernel: oracle.Turning{Kernel: k, Turn: turn}, everywhere: e, rules: rules}, nil
}

func (r *ruler) close() { r.kernel.Close() }

// place is where a rule by source must be, so that packets from a prefix take the
// prefix's own default route.
type place struct {
	priority int // directly before the rule that leads it elsewhere
	// suppress is the length of the longest prefix in table main that leads elsewhere.
	// It is 0 for a default route, and 1 for two routes to one half of all addresses
	// each.
	suppress int
	longest  map[int]int  // the same of each table that leads it elsewhere
	before   *oracle.Rule // that rule; nil if none was found
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
	w, err := r.everywhere.Far(r.kernel, v6, oracle.Question{Src: p.Addrs[0]})
	if err != nil {
		return place{}, err
	}
	x.longest = map[int]int{}
	for _, dst := range list {
		a, err := r.kernel.Match(oracle.Question{Dst: dst, Src: p.Addrs[0]})
		if err != nil {
			return place{}, err
		}
		if a.Verdict != oracle.Sent || a.Index == p.Index || w.Verdict == oracle.Sent && !w.Shared && a.Index != w.Index {
			continue // a tunnel for some destinations keeps its traffic
		}
		x.longest[a.Table] = max(x.longest[a.Table], a.Prefix.Bits())
	}
	x.suppress = x.longest[netmon.TableMain]
	for i := range r.rules {
		rule := &r.rules[i]
		if _, leads := x.longest[rule.Table]; leads && rule.V6 == v6 && (!rule.Source.IsValid() || rule.Source.Contains(p.Addrs[0])) && rule.Priority > 0 {
			x.priority, x.before = rule.Priority-1, rule
			break
		}
	}
	return x, nil
}

// remote tells whether the kernel would send from a prefix's address to a neighbour by another
// interface than its own.
func (r *ruler) remote(p *netmon.Prefix) (bool, error) {
	dst := p.Addrs[0].Next()
	if !p.Prefix.Contains(dst) || slices.Contains(p.Addrs, dst) {
		dst = p.Addrs[0].Prev()
	}
	if !p.Prefix.Contains(dst) {
		return false, nil
	}
	a, err := r.kernel.Match(oracle.Question{Dst: dst, Src: p.Addrs[0]})
	return err == nil && a.Verdict == oracle.Sent && a.Index != p.Index, err
}

// aside is the table of the rule, if that is not main and leads to certain destinations too.
func (x *place) aside(nets *netmon.Snapshot) Lookup {
	if x.before == nil || x.before.Table == netmon.TableMain || !nets.Specific(x.before.Table, x.before.V6) {
		return Lookup{}
	}
	return Lookup{x.before.Table, x.longest[x.before.Table]}
}

// foreign returns a rule of another program that comes before mamma's rules, and leads
// packets elsewhere that mamma's would lead to the prefix's default route. The zero
// value means that there is none.
func (x *place) foreign() Foreign {
	if x.before == nil || x.before.Priority > routing.FirstPriority || routing.Ours(x.before) || x.before.Other {
		return Foreign{}
	}
	return foreignOf(x.before)
}

// past returns a rule that another one would pass over if it were moved behind mamma's rules. The
// zero value means that there is none.
func (r *ruler) past(moved *oracle.Rule) Foreign {
	after := false
	for i := range r.rules {
		x := &r.rules[i]
		switch {
		case x.V6 != moved.V6:
		case x == moved:
			after = true
		case after && x.Priority <= behind && !routing.Ours(x) && !apart(x, moved):
			return foreignOf(x)
		}
	}
	return Foreign{}
}

// apart tells whether no packet is one that both rules are about.
func apart(a, b *oracle.Rule) bool {
	differ := func(a, b netip.Prefix) bool { return a.IsValid() && b.IsValid() && !a.Overlaps(b) }
	return !a.Invert && !b.Invert && (differ(a.Source, b.Source) || differ(a.Dst, b.Dst))
}

// diversions returns the rules by mark or by user that send packets from one of the
// prefixes another way than the other rules would.
func (r *ruler) diversions(prefixes []netmon.Prefix) (marks, users []Diversion, err error) {
	for i := range r.rules {
		rule := &r.rules[i]
		q := oracle.Question{}
		switch {
		case rule.Invert:
			continue // the rule is for packets without the mark, which are the ordinary ones
		case rule.Mark != 0:
			q.Mark = rule.Mark
		case rule.Users:
			q.User = &rule.FirstUser
		default:
			continue
		}
		d := Diversion{Rule: describe(rule)}
		for j := range prefixes {
			p := &prefixes[j]
			if p.Addrs[0].Is6() != rule.V6 || p.Egress != p.Index {
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
			d.Users = fmt.Sprintf("%d-%d", rule.FirstUser, rule.LastUser)
			users = append(users, d)
		} else {
			marks = append(marks, d)
		}
	}
	return marks, users, nil
}

// describe formats a rule as ip-rule(8) lists it.
func describe(r *oracle.Rule) string { return fmt.Sprintf("rule %d: %s", r.Priority, words(r)) }

// words returns the arguments of ip-rule(8) that make the same rule, without its
// priority.
func words(r *oracle.Rule) string { return r.Words(display.ShellQuote) }

func foreignOf(r *oracle.Rule) Foreign { return Foreign{Priority: r.Priority, Words: words(r)} }

// laterOf returns a rule that has no effect on what is sent from a prefix, as it comes after
// mamma's. The words are for this prefix alone.
func laterOf(r *routing.Refusal, p netip.Prefix) Foreign {
	only := func(x oracle.Rule) oracle.Rule {
		if !x.Source.IsValid() || x.Source.Bits() < p.Bits() {
			x.Source = p
		}
		return x
	}
	rule := only(r.Rule)
	f := foreignOf(&rule)
	for _, x := range r.Before {
		x = only(x)
		f.Before = append(f.Before, words(&x))
	}
	return f
}
