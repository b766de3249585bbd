package routing

import (
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

// Barrier is what keeps the kernel from looking for a prefix's default route in table
// main: a rule that refuses the packets, or a rule that leads to a table with a route that
// does.
type Barrier struct {
	Rule netmon.Rule
	// Table is the table with the route; 0: the rule itself refuses.
	Table int
}

// BarrierOf returns the barrier before table main for packets from a prefix by its own
// interface. ok is false if there is none, so that a default route in table main has an
// effect. A prefix that has a default route has no barrier. refusing are the routes to
// everywhere that refuse (oracle.Kernel.Refusing). A rule that passes over routes to
// everywhere (suppress_prefixlength) does not pass over these: the kernel looks at the
// length only of a route that leads somewhere.
func BarrierOf(p *netmon.Prefix, nets *netmon.Snapshot, refusing []oracle.Route) (b Barrier, ok bool) {
	if p.HasDefault || p.Hidden {
		return Barrier{}, false
	}
	c := chainsOf(nets)
	refuses := func(r *netmon.Rule) bool {
		return slices.ContainsFunc(refusing, func(x oracle.Route) bool {
			return x.Table == r.Table && x.Prefix.Addr().Is6() == r.V6 && x.Serves(p.Addrs[0])
		})
	}
	resume := 0 // priority at which the chain continues after a jump
	for _, r := range c.rules[family01(p.Addrs[0].Is6())] {
		if r.Priority < resume {
			continue
		}
		switch holds, _ := r.Holds(p.Addrs[0]); {
		case !holds:
		case r.Refuses() != oracle.NoRoute:
			return Barrier{Rule: r}, true
		case r.Jump() > r.Priority:
			resume = r.Jump()
		case r.Table == netmon.TableMain:
			// A default route is looked for here. The caller knows whether it would come
			// before one that refuses.
			if r.Passes == 0 {
				return Barrier{}, false
			}
		case r.Table != 0 && refuses(&r):
			return Barrier{r, r.Table}, true
		}
	}
	return Barrier{}, false
}
