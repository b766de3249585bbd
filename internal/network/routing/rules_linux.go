package routing

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// group identifies the rules of an address in one place.
type group struct {
	priority int
	source   netip.Addr
	device   string
}

func (r *Rule) group() group { return group{r.Priority, r.Source, r.Device} }

// present are our rules that the kernel has.
type present struct {
	groups map[group][]Rule // each in the kernel's order
	// late are groups that come before a rule of another program with the same
	// priority, although they should come after it.
	late map[group]bool
}

// readRules reads our rules.
func (k *Kernel) readRules() (*present, error) {
	p := &present{groups: map[group][]Rule{}, late: map[group]bool{}}
	for _, v6 := range []bool{false, true} {
		var same []group // groups with the priority that is being read
		err := k.tables.Rules(v6, func(r *oracle.Rule) {
			if len(same) > 0 && same[0].priority != r.Priority {
				same = nil
			}
			if !Ours(r) {
				for _, g := range same {
					p.late[g] = true
				}
				return
			}
			own := Rule{Priority: r.Priority, Source: r.Source.Addr(), Device: r.Out, Table: r.Table, Suppress: r.Passes - 1}
			g := own.group()
			p.groups[g] = append(p.groups[g], own)
			same = append(same, g)
		})
		if err != nil && !errors.Is(err, oracle.ErrInterrupted) {
			return nil, err
		}
	}
	return p, nil
}

// groupsOf splits the rules of a plan into groups.
func groupsOf(plan []Rule) (groups map[group][]Rule, order []group) {
	groups = map[group][]Rule{}
	for _, r := range plan {
		g := r.group()
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], r)
	}
	return groups, order
}

// addRules writes missing rules. The kernel puts a new rule after all others of its
// priority. So if a rule is missing between others, or if another program's rule has
// come after ours, all rules of the address are written again.
func (p *pass) addRules(plan []Rule, has *present) {
	groups, order := groupsOf(plan)
	for _, g := range order {
		want, there := groups[g], has.groups[g]
		switch {
		case len(there) <= len(want) && slices.Equal(there, want[:len(there)]) && !has.late[g]:
			want = want[len(there):]
		default:
			for _, r := range there {
				p.removeRule(r)
			}
		}
		for _, r := range want {
			p.do("adding rule", r, func() error { return p.kernel.handle.RuleAdd(r.encode()) }, unix.EEXIST)
		}
	}
}

// removeRules removes rules in places where none are wanted.
func (p *pass) removeRules(plan []Rule, has *present) {
	groups, _ := groupsOf(plan)
	var gone []Rule
	for g, list := range has.groups {
		if groups[g] == nil {
			gone = append(gone, list...)
		}
	}
	slices.SortStableFunc(gone, compareRules)
	// The last rules are removed first. If ctx ends in between, the first rules of an
	// address are left, and the next run can continue from these.
	for _, r := range slices.Backward(gone) {
		p.removeRule(r)
	}
}

func (p *pass) removeRule(r Rule) {
	p.do("removing rule", r, func() error { return p.kernel.handle.RuleDel(r.encode()) }, unix.ENOENT)
}
