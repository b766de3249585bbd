package routing

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

// place is where the rules for an address go, and what they must not pass over.
//
// The rules of other programs form a chain that the kernel follows for each packet.
// Some rules refuse, some lead to split tunnels, and at some point one leads to
// everywhere, by the network that the host prefers. Our rules are directly before that
// one, so that all rules before it have the effect that their owner wants. The rest of
// the chain still applies to certain destinations. Only its ways to everywhere are
// replaced by the address's own.
type place struct {
	// priority is the priority of all rules for the address. Among rules with equal
	// priority the oldest is first; see Kernel.Apply.
	priority int
	// lookups are the tables with routes to certain destinations, in the order of the
	// chain.
	lookups []lookup
	// forbidden is a rule that refuses the address's packets before the chain reaches
	// the address's own way; nil: there is none.
	forbidden *netmon.Rule
	// led tells that a rule leads the address's packets into a VPN. Rules of ours would
	// lead them past it.
	led bool
	// undone are rules that refuse some packets but come after ours, and so have no
	// effect.
	undone []later
	// passed are rules that lead some packets elsewhere, and do not hold where ours come first.
	passed []later
}

// later is a rule that comes after ours, with the lookups that come before it in the chain.
type later struct {
	netmon.Rule
	lookups []lookup
}

// lookup is a table, and the prefix length up to which its routes do not count.
type lookup struct{ table, suppress int }

// chains are the rules of other programs, in the kernel's order.
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

// Ours tells whether this package has made a rule.
func Ours(r *netmon.Rule) bool {
	return r.Maker == Protocol && r.Source.IsValid() && r.Source.IsSingleIP() && r.Priority >= FirstPriority
}

// leads tells whether a rule leads packets from a to everywhere. here tells whether it
// leads to an interface, perhaps among others.
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
	// A VPN may take all traffic by many routes.
	p := c.nets.Pieces(r.V6)
	if p.Index != 0 && p.Table == r.Table && p.Longest() >= r.Passes {
		leads = true
		here = here || p.Index == index
	}
	return leads, here
}

// intoVPN tells whether a rule leads an address's packets to everywhere by nothing but
// a VPN that other traffic does not use.
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
	resume := 0              // priority at which the chain continues after a jump
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
			case !found || r.Priority <= x.priority:
				before = append(before, r)
			case !slices.ContainsFunc(before, func(b netmon.Rule) bool { return alike(b, r) }):
				x.undone = append(x.undone, later{r, slices.Clone(x.lookups)})
			}
			continue
		case !holds:
			_, here := c.leads(&r, a, index)
			switch {
			case !found || r.Priority <= x.priority:
				before = append(before, r)
			case some && !here && (r.Table != 0 || r.Jump() != 0) && !slices.ContainsFunc(before, func(b netmon.Rule) bool { return alike(b, r) }):
				x.passed = append(x.passed, later{r, slices.Clone(x.lookups)})
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
			break // the chain never reached anything after it
		}
	}
	if !found {
		x.priority = mainPriority - 1
	}
	// A table of the address's own may lack the neighbours of other links. The owner of
	// a VPN chooses which of these it takes.
	rules := c.rules[family01(a.Is6())]
	l, _ := c.nets.Link(index)
	if i := slices.IndexFunc(rules, func(r netmon.Rule) bool { return r.Table == netmon.TableMain }); i >= 0 && (!own || !l.Tunnel()) {
		x.look(c, &netmon.Rule{V6: a.Is6(), Table: netmon.TableMain}, index)
	}
	if !own {
		// Only some packets are led to the table with the way, so nothing is known
		// about the rules before it.
		x.undone, x.passed = nil, nil
	}
	return x
}

// alike tells whether two rules that both hold for packets from an address have the
// same other conditions.
func alike(a, b netmon.Rule) bool {
	a.Source, a.Priority, a.Maker, a.Action = b.Source, b.Priority, b.Maker, b.Action
	return a == b
}

// look notes that the table of a rule must be looked into for an address's packets.
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
// IPv4 without the other is a tunnel for that half. So is the upper half of IPv6, where only
// sites have addresses; the lower one has all others.
func (c *chains) suppressed(r *netmon.Rule) int {
	parts := map[netip.Prefix]bool{}
	for _, w := range c.wide[netmon.TableOf{V6: r.V6, Table: r.Table}] {
		if w.Prefix.Bits() > 0 {
			parts[w.Prefix] = true
		}
	}
	if len(parts) == 1 && (!r.V6 || parts[upperHalf6]) {
		return 0
	}
	return suppressed(r.V6)
}

var upperHalf6 = netip.MustParsePrefix("8000::/1")

// suppressed is the greatest prefix length of routes to everywhere: default routes,
// halves of one, and 2000::/3.
func suppressed(v6 bool) int {
	if v6 {
		return 3
	}
	return 1
}

// mainPriority is the priority of the kernel's rule for table main. tableLocal is the
// table of its first rule.
const (
	mainPriority = 32766
	tableLocal   = 255
)
