package routing

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/policy"
)

// Preceded is a prefix whose rules have no effect, because a rule of another program
// comes before them and leads the prefix's packets elsewhere.
type Preceded struct {
	Prefix policy.PrefixID
	Rule   netmon.Rule
	// Interface is where the packets go.
	Interface string
}

func (p Preceded) String() string {
	return fmt.Sprintf("%v on %s leaves by %s: rule %d, %s", p.Prefix.Prefix, p.Prefix.Interface, p.Interface, p.Rule.Priority, words(&p.Rule))
}

func words(r *netmon.Rule) string { return r.Words(func(name string) string { return name }) }

// Preceding returns the prefixes that the kernel does not lead as our rules say,
// although these rules exist. The kernel itself says that the packets go elsewhere
// (Prefix.Egress). The tables show which rule leads them there.
func Preceding(managed []policy.PrefixID, nets *netmon.Snapshot) []Preceded {
	c := chainsOf(nets)
	var list []Preceded
	for _, p := range prefixesOf(managed, nets) {
		out, known := nets.Link(p.Egress)
		if p.Twin || p.Egress == p.Index || !known {
			continue
		}
		priority, ok := Ruled(p, nets)
		if !ok {
			continue
		}
		for _, r := range c.rules[family01(p.Addrs[0].Is6())] {
			if r.Priority > min(priority, FirstPriority) {
				break // ours come before it, at the latest when they are written
			}
			if holds, _ := r.Holds(p.Addrs[0]); !holds {
				continue
			}
			if _, there := c.leads(&r, p.Addrs[0], p.Egress); there {
				list = append(list, Preceded{policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}, r, out.Name})
				break
			}
		}
	}
	return list
}

// prefixesOf returns those of the named prefixes that exist.
func prefixesOf(managed []policy.PrefixID, nets *netmon.Snapshot) []*netmon.Prefix {
	var list []*netmon.Prefix
	all := nets.Prefixes()
	for _, id := range managed {
		if i := slices.IndexFunc(all, func(p netmon.Prefix) bool { return p.Interface == id.Interface && p.Prefix == id.Prefix }); i >= 0 {
			list = append(list, &all[i])
		}
	}
	return list
}

// Ruled tells whether rules of ours lead a prefix's packets, and returns their
// priority.
func Ruled(p *netmon.Prefix, nets *netmon.Snapshot) (priority int, ok bool) {
	for _, r := range nets.Rules() {
		if Ours(&r) && r.Source.Addr() == p.Addrs[0] && (r.Out == "" || r.Out == p.Interface) {
			return r.Priority, true
		}
	}
	return 0, false
}

// Refusal is a rule of somebody else that refuses what is sent from a prefix, or leads some of it
// elsewhere, and comes behind the place where the rules of the prefix would have to be.
type Refusal struct {
	Prefix policy.PrefixID
	Rule   netmon.Rule
	// Whole tells that the rule refuses everything, so that the prefix gets no rules.
	// Otherwise the rule has no effect on the packets that the prefix's rules lead
	// elsewhere.
	Whole bool
	// Leads tells that it does not refuse, but leads what it is about elsewhere.
	Leads bool
	// Before are the rules that a copy of Rule, directly before ours, would pass over unless it
	// came with copies of these: what they lead elsewhere, such as to neighbours, Rule is not
	// about. They are nil if Whole.
	Before []netmon.Rule
}

func (r *Refusal) same(o *Refusal) bool {
	return r.Prefix == o.Prefix && r.Rule == o.Rule && r.Whole == o.Whole && r.Leads == o.Leads
}

func (r Refusal) String() string {
	if r.Whole {
		return fmt.Sprintf("%v on %s gets no rules: rule %d refuses what is sent from it, %s", r.Prefix.Prefix, r.Prefix.Interface, r.Rule.Priority, words(&r.Rule))
	}
	return fmt.Sprintf("%v on %s: rule %d does not hold for it, %s", r.Prefix.Prefix, r.Prefix.Interface, r.Rule.Priority, words(&r.Rule))
}

// Refusals tells of rules that refuse something, or lead some packets elsewhere, and would come
// behind ours.
func Refusals(managed []policy.PrefixID, nets *netmon.Snapshot) []Refusal {
	c := chainsOf(nets)
	var list []Refusal
	for _, p := range prefixesOf(managed, nets) {
		id := policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}
		add := func(r Refusal) {
			if !slices.ContainsFunc(list, func(o Refusal) bool { return o.same(&r) }) {
				list = append(list, r)
			}
		}
		for _, a := range p.Addrs {
			at := c.place(a, p.Index)
			if at.forbidden != nil {
				add(Refusal{Prefix: id, Rule: *at.forbidden, Whole: true})
				continue
			}
			for i := range at.undone {
				add(Refusal{Prefix: id, Rule: at.undone[i].Rule, Before: c.before(a, &at, &at.undone[i])})
			}
			for i := range at.passed {
				add(Refusal{Prefix: id, Rule: at.passed[i].Rule, Leads: true, Before: c.before(a, &at, &at.passed[i])})
			}
		}
	}
	return list
}

// before returns the rules that the chain comes to before a later one, from the place of the rules
// for an address on.
func (c *chains) before(a netip.Addr, at *place, r *later) []netmon.Rule {
	var list []netmon.Rule
	for _, x := range c.rules[family01(a.Is6())] {
		if _, may := x.Holds(a); may && x.Priority == at.priority { // ours, which are younger, come after it
			list = append(list, x)
		}
	}
	for _, l := range r.lookups {
		if !slices.ContainsFunc(list, func(x netmon.Rule) bool { return x.Table == l.table && !x.Conditional() }) {
			list = append(list, netmon.Rule{V6: a.Is6(), Action: lookUp, Table: l.table, Passes: l.suppress + 1})
		}
	}
	return list
}

// lookUp is the action of rules that look into a table (FR_ACT_TO_TBL).
const lookUp = 1
