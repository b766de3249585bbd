package routing

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

// place is where the rules for an address are, and what they must not pass over.
//
// The rules of others make a chain that the kernel goes through for each packet: some
// refuse, some lead to split tunnels, and sooner or later one leads to everywhere, by the
// network that the host prefers. Ours are directly before that one, so that all before
// it is as its owner wants it. From there on the chain is followed with what it says of
// certain destinations; only its ways to everywhere are replaced by the address's own.
type place struct {
	// priority is that of all rules for the address. Of equal ones the kernel takes
	// first what was there first; see Kernel.Apply.
	priority int
	// lookups are the tables that say something of certain destinations, in the order of
	// the chain.
	lookups []lookup
	// forbidden is a rule that refuses what the address sends before the chain reaches the
	// address's own way; nil: there is none.
	forbidden *netmon.Rule
	// led tells that a rule leads what the address sends into a VPN. Rules of ours would lead
	// it past that.
	led bool
	// undone are rules that refuse some packets, and do not hold where ours come first.
	undone []netmon.Rule
	// passed are rules that lead some packets elsewhere, and do not hold where ours come first.
	passed []netmon.Rule
}

// lookup is a table, and up to which prefix length what it says does not count.
type lookup struct{ table, suppress int }

// chains are the rules of others, in the kernel's order.
type chains struct {
	rules [2][]netmon.Rule
	// wide are the routes to everywhere of each table.
	wide map[netmon.TableOf][]*oracle.Route
	nets *netmon.Snapshot
}

func chainsOf(nets *netmon.Snapshot) *chains {
	c := &chains{wide: map[netmon.TableOf][]*oracle.Route{}, nets: nets}
	for _, r := range nets.Rules() {
		if !Ours(&r) {
			c.rules[family01(r.V6)] = append(c.rules[family01(r.V6)], r)
		}
	}
	list := nets.Routes()
	for i := range list {
		if r := &list[i]; r.Wide() {
			t := netmon.TableOf{V6: r.Prefix.Addr().Is6(), Table: r.Table}
			c.wide[t] = append(c.wide[t], r)
		}
	}
	return c
}

func family01(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// Ours tells whether a rule is one that this package has made.
func Ours(r *netmon.Rule) bool {
	return r.Maker == Protocol && r.Source.IsValid() && r.Source.IsSingleIP() && r.Priority >= FirstPriority
}

// leads tells whether a rule leads packets from a to everywhere; here tells whether an
// interface is among those that it leads to.
func (c *chains) leads(r *netmon.Rule, a netip.Addr, index int) (leads, here bool) {
	if r.Table == 0 {
		return false, false
	}
	for _, w := range c.wide[netmon.TableOf{V6: r.V6, Table: r.Table}] {
		if w.Prefix.Bits() >= r.Passes && w.Serves(a) {
			leads = true
			here = here || slices.Contains(w.Devices(), index)
		}
	}
	// A VPN may take everything in pieces.
	p := c.nets.Pieces(r.V6)
	if p.Index != 0 && p.Table == r.Table && p.Longest() >= r.Passes {
		leads = true
		here = here || p.Index == index
	}
	return leads, here
}

// intoVPN tells whether a rule leads what an address of an interface sends to everywhere
// by a VPN that is not for all, and by nothing else.
func (c *chains) intoVPN(r *netmon.Rule, a netip.Addr, index int) bool {
	if l, _ := c.nets.Link(index); l.Tunnel() {
		return false
	}
	found := false
	for _, w := range c.wide[netmon.TableOf{V6: r.V6, Table: r.Table}] {
		if w.Prefix.Bits() < r.Passes || !w.Serves(a) {
			continue
		}
		for _, d := range w.Devices() {
			if !c.nets.PartialVPN(d, r.V6) {
				return false
			}
			found = true
		}
	}
	return found
}

// place finds the place of the rules for an address of an interface.
func (c *chains) place(a netip.Addr, index int) place {
	var x place
	found, own := false, false
	var before []netmon.Rule // what is about some packets and comes before ours
	some := false            // what ours come before leaves some packets to the rules behind it
	resume := 0              // where the chain goes on, after a jump
	for _, r := range c.rules[family01(a.Is6())] {
		if r.Priority < resume {
			continue
		}
		holds, may := r.Holds(a)
		switch {
		case !may:
			continue
		case r.Refuses().Refused():
			if found && holds {
				x.forbidden = &r
				return x
			}
			switch {
			case !found:
				before = append(before, r)
			case !slices.ContainsFunc(before, func(b netmon.Rule) bool { return alike(b, r) }):
				x.undone = append(x.undone, r)
			}
			continue
		case !holds:
			_, here := c.leads(&r, a, index)
			switch {
			case !found:
				before = append(before, r)
			case some && !here && (r.Table != 0 || r.Jump() != 0) && !slices.ContainsFunc(before, func(b netmon.Rule) bool { return alike(b, r) }):
				x.passed = append(x.passed, r)
			}
			continue
		case r.Jump() > r.Priority:
			resume = r.Jump()
			continue
		}
		leads, here := c.leads(&r, a, index)
		if leads && !found {
			if x.led = !here && r.Source.IsValid() && c.intoVPN(&r, a, index); x.led {
				return x
			}
			found, x.priority, some = true, max(r.Priority-1, FirstPriority), r.Conditional()
		}
		if found {
			x.look(c, &r, index)
		}
		if own = own || leads && here; own {
			break // behind it the chain was never gone through
		}
	}
	if !found {
		x.priority = mainPriority - 1
	}
	// A table of the address's own may lack the neighbours of other links. What a VPN takes of
	// these is its owner's choice.
	rules := c.rules[family01(a.Is6())]
	l, _ := c.nets.Link(index)
	if i := slices.IndexFunc(rules, func(r netmon.Rule) bool { return r.Table == netmon.TableMain }); i >= 0 && (!own || !l.Tunnel()) {
		x.look(c, &netmon.Rule{V6: a.Is6(), Table: netmon.TableMain}, index)
	}
	if !own {
		// The way is in a table that some packets only are led to, so nothing can be said
		// about what comes before it.
		x.undone, x.passed = nil, nil
	}
	return x
}

// alike tells whether two rules that hold for packets from an address have the same conditions
// besides.
func alike(a, b netmon.Rule) bool {
	a.Source, a.Priority, a.Maker, a.Action = b.Source, b.Priority, b.Maker, b.Action
	return a == b
}

// look notes that the table of a rule is to be looked into for what an address of an
// interface sends.
func (x *place) look(c *chains, r *netmon.Rule, index int) {
	if r.Table == 0 || r.Table == tableLocal || !c.nets.Specific(r.Table, r.V6) || slices.ContainsFunc(x.lookups, func(l lookup) bool { return l.table == r.Table }) {
		return
	}
	l := lookup{r.Table, max(c.suppressed(r), r.Passes-1)}
	if p := c.nets.Pieces(r.V6); p.Index != 0 && p.Index != index && p.Table == r.Table {
		l.suppress = max(l.suppress, p.Longest())
	}
	x.lookups = append(x.lookups, l)
}

// suppressed is the prefix length of what the table of a rule leads to everywhere. One half of
// IPv4 without the other is a tunnel for that half.
func (c *chains) suppressed(r *netmon.Rule) int {
	halves := map[netip.Prefix]bool{}
	for _, w := range c.wide[netmon.TableOf{V6: r.V6, Table: r.Table}] {
		if w.Prefix.Bits() == 1 {
			halves[w.Prefix] = true
		}
	}
	if !r.V6 && len(halves) == 1 {
		return 0
	}
	return suppressed(r.V6)
}

// suppressed is the prefix length of what leads to everywhere: default routes, halves of
// one, and 2000::/3.
func suppressed(v6 bool) int {
	if v6 {
		return 3
	}
	return 1
}

// mainPriority is that of the kernel's rule into table main, and tableLocal the table that
// its first rule leads to.
const (
	mainPriority = 32766
	tableLocal   = 255
)
