package scopes

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// These bound what the kernel is told of the rules of one scope.
const (
	maxVariants = 64
	maxFits     = 256 // sets of rules that can fit a connection together
)

// variant is what the rules of a scope state about some of its connections.
type variant struct {
	set  intent.Set
	from string // the rules that state it, for people
	// port stands for the well-known ports whose intents are guessed; 0: nothing is guessed.
	port  uint16
	ports string // all of these ports, for people; "" if nothing is guessed
}

// name says which connections have the variant, for people.
func (v *variant) name() string {
	if v.from == "" || v.ports == "" {
		return v.from + v.ports
	}
	return v.from + ", " + v.ports
}

// rule is a rule, or a group of well-known ports that have the same intents.
type rule struct {
	*config.Rule
	guess uint16 // one of the ports; 0: it is a rule of the configuration
}

// rulesOf returns what the kernel needs to know of the rules of a scope, and the variants. The
// first variant is that of connections that no rule with a condition fits. The rules are nil
// if there is one variant only. used is how many rules of the scope count: if rules overlap in too
// many ways, the last ones do not.
func rulesOf(c *config.Scope) (r *hook.Rules, list []variant, used int) {
	var ports []rule
	if _, known := c.Intents.Category(); c.PortIntents && !known {
		ports = wellKnown()
	}
	for used = len(c.Rules); ; used-- {
		var all []rule
		for i := range c.Rules[:used] {
			all = append(all, rule{Rule: &c.Rules[i]})
		}
		if r, list, ok := distinguish(append(all, ports...)); ok {
			return r, list, used
		}
	}
}

// wellKnown returns the ports for which package rules guesses intents.
func wellKnown() []rule {
	var list []rule
	for p := uint16(1); p != 0; p++ {
		s := rules.OfPort(p)
		if s.IsZero() {
			continue
		}
		i := slices.IndexFunc(list, func(r rule) bool { return r.Set == s })
		if i < 0 {
			i = len(list)
			list = append(list, rule{&config.Rule{Set: s}, p})
		}
		list[i].Ports = append(list[i].Ports, config.PortRange{Low: p, High: p})
	}
	return list
}

// distinguish finds out which of the rules can fit a connection together, and what these then
// state. ok is false if that is too much for the kernel.
func distinguish(all []rule) (r *hook.Rules, list []variant, ok bool) {
	r = &hook.Rules{Ports: byPort(all), Networks: byNetwork(all), Commands: byCommand(all)}
	together := map[hook.Fits]bool{^hook.Fits(0): true}
	narrow := func(fits []hook.Fits) {
		if len(fits) == 0 || len(together) > maxFits {
			return
		}
		both := map[hook.Fits]bool{}
		for a := range together {
			for _, b := range fits {
				if both[a&b] = true; len(both) > maxFits {
					together = both
					return
				}
			}
		}
		together = both
	}
	narrow(distinct(r.Networks, func(n hook.NetworkFits) hook.Fits { return n.Fits }))
	narrow(distinct(r.Commands, func(c hook.CommandFits) hook.Fits { return c.Fits }))
	anyPort := together
	narrow(distinct(r.Ports, func(p hook.PortFits) hook.Fits { return p.Fits }))
	if len(together) > maxFits {
		return nil, nil, false
	}
	first := fitting(all, func(x rule) bool { return len(x.Ports)+len(x.Destinations)+len(x.Commands) == 0 })
	list = []variant{stated(all, first)}
	for _, f := range slices.Sorted(maps.Keys(together)) {
		v := stated(all, f)
		n := slices.Index(list, v)
		if n < 0 {
			n = len(list)
			list = append(list, v)
		}
		if n > 0 {
			r.Variants = append(r.Variants, hook.VariantFits{Fits: f, Variant: hook.Variant(n)})
		}
	}
	if len(list) == 1 {
		return nil, list, true
	}
	if len(list) > maxVariants {
		return nil, nil, false
	}
	namePorts(list, all, r.Ports, anyPort)
	return r, list, true
}

// namePorts tells in variants which well-known ports they are about. anyPort has the sets of
// rules that can fit a connection together, whatever its port.
func namePorts(list []variant, all []rule, ports []hook.PortFits, anyPort map[hook.Fits]bool) {
	for i := range list {
		v := list[i]
		var names []string
		for _, x := range all {
			if x.guess == 0 || x.guess != v.port {
				continue
			}
			for _, p := range x.Ports { // each is a single port
				fits := fitsOfPort(ports, p.Low)
				for f := range anyPort {
					if stated(all, fits&f) == v {
						names = append(names, p.String())
						break
					}
				}
			}
		}
		switch len(names) {
		case 0:
		case 1:
			list[i].ports = "port " + names[0]
		default:
			list[i].ports = "ports " + strings.Join(names, ", ")
		}
	}
}

// fitsOfPort returns the rules that fit connections to a port.
func fitsOfPort(list []hook.PortFits, port uint16) hook.Fits {
	var best hook.PortFits
	for _, p := range list {
		if shift := 16 - p.Bits; port>>shift == p.Port>>shift && p.Bits >= best.Bits {
			best = p
		}
	}
	return best.Fits
}

// stated returns what rules state together, in their order.
func stated(all []rule, fits hook.Fits) variant {
	var c rules.Choice
	var port uint16
	for i := range all {
		switch x := &all[i]; {
		case fits&(1<<i) == 0:
		case x.guess == 0:
			c.Add(x.Set, "rule "+x.Name)
		default:
			port = x.guess
		}
	}
	if _, known := c.Set.Category(); known {
		port = 0
	}
	return variant{set: c.Set, from: c.From(), port: port}
}

// fitting returns the rules for which f is true.
func fitting(all []rule, f func(rule) bool) hook.Fits {
	var fits hook.Fits
	for i, x := range all {
		if f(x) {
			fits |= 1 << i
		}
	}
	return fits
}

func distinct[T any](list []T, fits func(T) hook.Fits) []hook.Fits {
	var all []hook.Fits
	for _, x := range list {
		all = append(all, fits(x))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// byPort returns which rules fit which ports. It is nil if no rule has a port.
func byPort(all []rule) []hook.PortFits {
	const end = 1 << 16
	cuts := []int{0, end}
	for _, x := range all {
		for _, p := range x.Ports {
			cuts = append(cuts, int(p.Low), int(p.High)+1)
		}
	}
	if len(cuts) == 2 {
		return nil
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	others := fitting(all, func(x rule) bool { return len(x.Ports) == 0 })
	list := []hook.PortFits{{Fits: others}}
	for i := range cuts[:len(cuts)-1] {
		fits := others | fitting(all, func(x rule) bool {
			return slices.ContainsFunc(x.Ports, func(p config.PortRange) bool { return int(p.Low) <= cuts[i] && cuts[i] <= int(p.High) })
		})
		if fits == others {
			continue
		}
		for at := cuts[i]; at < cuts[i+1]; {
			bits := 16
			for bits > 0 && at%(1<<(17-bits)) == 0 && at+1<<(17-bits) <= cuts[i+1] {
				bits--
			}
			if bits == 0 {
				list = nil // there are no other ports
			}
			list = append(list, hook.PortFits{Port: uint16(at), Bits: bits, Fits: fits})
			at += 1 << (16 - bits)
		}
	}
	return list
}

// byNetwork returns which rules fit which destinations. It is nil if no rule has one.
func byNetwork(all []rule) []hook.NetworkFits {
	nets := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	named := false
	for _, x := range all {
		nets = append(nets, x.Destinations...)
		named = named || len(x.Destinations) > 0
	}
	if !named {
		return nil
	}
	slices.SortFunc(nets, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var list []hook.NetworkFits
	for _, n := range slices.Compact(nets) {
		list = append(list, hook.NetworkFits{Network: n, Fits: fitting(all, func(x rule) bool {
			return len(x.Destinations) == 0 || slices.ContainsFunc(x.Destinations, func(p netip.Prefix) bool { return p.Bits() <= n.Bits() && p.Contains(n.Addr()) })
		})})
	}
	return list
}

// byCommand returns which rules fit which commands. It is nil if no rule has one.
func byCommand(all []rule) []hook.CommandFits {
	names := []string{""}
	for _, x := range all {
		names = append(names, x.Commands...)
	}
	if len(names) == 1 {
		return nil
	}
	slices.Sort(names)
	var list []hook.CommandFits
	for _, name := range slices.Compact(names) {
		list = append(list, hook.CommandFits{Command: name, Fits: fitting(all, func(x rule) bool {
			return len(x.Commands) == 0 || slices.Contains(x.Commands, name)
		})})
	}
	return list
}

// intents returns the intents of a scope's connections, and where they come from besides the
// scope, for people. Rules come before the scope, and guesses after it. port is the port of the
// destination; 0 if that is not known. learnt is what was learnt of the destination.
func (s *scope) intents(v hook.Variant, port uint16, learnt intent.Set) (intent.Set, string) {
	c, x := s.statedFor(v)
	if port == 0 || x.port == 0 {
		port = x.port
	}
	c.Guess(func() intent.Set { return learnt }, port)
	return c.Set, c.From()
}

// statedFor returns what rules and scope state about connections of a variant.
func (s *scope) statedFor(v hook.Variant) (rules.Choice, *variant) {
	x := &s.variants[0]
	if int(v) < len(s.variants) {
		x = &s.variants[v]
	}
	var c rules.Choice
	c.Add(x.set, x.from)
	c.Set = c.Set.Merge(s.Intents)
	return c, x
}

// source says where the intents of a connection come from.
func (s *scope) source(from string) string {
	return strings.TrimSuffix("scope "+s.Name+", "+from, ", ")
}
