package routing

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/policy"
)

// Preceded is a prefix whose rules do not hold, as a rule of somebody else comes before
// them and leads what is sent from the prefix elsewhere.
type Preceded struct {
	Prefix policy.PrefixID
	Rule   netmon.Rule
	// Interface is where the packets go.
	Interface string
}

func (p Preceded) String() string {
	from := "all"
	if p.Rule.Source.IsValid() {
		from = p.Rule.Source.String()
	}
	return fmt.Sprintf("%v on %s leaves by %s: rule %d, from %s lookup %d", p.Prefix.Prefix, p.Prefix.Interface, p.Interface, p.Rule.Priority, from, p.Rule.Table)
}

// Preceding tells which of the prefixes the kernel does not lead as our rules say,
// though they are there. That a rule leads elsewhere the kernel has said (Prefix.Egress);
// which one it was is found by the tables.
func Preceding(managed []policy.PrefixID, nets *netmon.Snapshot) []Preceded {
	var list []Preceded
	for _, id := range managed {
		i := slices.IndexFunc(nets.Prefixes(), func(p netmon.Prefix) bool { return p.Interface == id.Interface && p.Prefix == id.Prefix })
		if i < 0 {
			continue
		}
		p := &nets.Prefixes()[i]
		out, known := nets.Link(p.Egress)
		if p.Twin || p.Egress == p.Index || !known || !ruled(p.Addrs[0], nets) {
			continue
		}
		for _, r := range nets.Rules() {
			if leads(&r, p, nets) {
				list = append(list, Preceded{id, r, out.Name})
				break
			}
		}
	}
	return list
}

// Own tells whether a rule is one of those that a Plan has.
func Own(r *netmon.Rule) bool {
	return r.Priority >= NearPriority && r.Priority <= OwnPriority && r.Source.IsValid() && r.Source.IsSingleIP() &&
		(r.Table == netmon.TableMain || r.Table >= FirstTable && r.Table <= LastTable)
}

// ruled tells whether our rules for an address are there.
func ruled(a netip.Addr, nets *netmon.Snapshot) bool {
	return slices.ContainsFunc(nets.Rules(), func(r netmon.Rule) bool {
		return r.Priority == OwnPriority && r.Source.IsValid() && r.Source.IsSingleIP() && r.Source.Addr() == a
	})
}

// leads tells whether a rule comes before ours and leads what is sent from the prefix to
// where the kernel sends it.
func leads(r *netmon.Rule, p *netmon.Prefix, nets *netmon.Snapshot) bool {
	if r.Priority >= NearPriority || r.Conditional || r.Table == 0 || r.IPv6 != p.Addrs[0].Is6() || r.Source.IsValid() && !r.Source.Contains(p.Addrs[0]) {
		return false
	}
	list := nets.Routes()
	for i := range list {
		if x := &list[i]; x.Table == r.Table && x.Wide() && x.Prefix.Addr().Is6() == r.IPv6 && slices.Contains(x.Devices(), p.Egress) {
			return true
		}
	}
	return false
}
