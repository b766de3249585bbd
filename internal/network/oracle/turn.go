package oracle

import "slices"

// Turn is several default routes of IPv4 that have the same table and metric and lead by
// gateways. The kernel changes between them by itself, and reports nothing
// (fib_select_default of linux/net/ipv4/fib_semantics.c). It leaves a gateway whose
// link-layer address it has not confirmed lately. If that is so for all of them, each
// lookup takes the next one: from connection to connection, and even from datagram to
// datagram. Such a question is a lookup, too. Only the lookups of sockets that are bound to
// an interface are certain. Hosts get such routes from systemd-networkd, which gives those
// of all its interfaces one metric. The zero value is none.
type Turn struct {
	Table, Metric int
	Hops          []Hop // in the order of their interfaces
}

// Equal tells whether two turns are the same.
func (t *Turn) Equal(o *Turn) bool {
	return t.Table == o.Table && t.Metric == o.Metric && slices.Equal(t.Hops, o.Hops)
}

// spread names all routes of the turn if the answer is one of them.
func (t *Turn) spread(q *Question, a *Answer) {
	if len(t.Hops) < 2 || q.Device != 0 || a.Verdict != Sent || a.Table != t.Table || a.Metric != t.Metric || len(a.More) > 0 ||
		!a.Prefix.IsValid() || a.Prefix.Bits() > 0 || !a.Prefix.Addr().Is4() {
		return
	}
	a.Hop, a.More = t.Hops[0], t.Hops[1:]
}

// Turning is a Kernel that knows a Turn. Its answers say that the routes share the traffic
// (Answer.Shared), where the kernel names one of them as if that were certain.
type Turning struct {
	*Kernel
	Turn Turn
}

// Match is like that of Kernel.
func (k Turning) Match(q Question) (Answer, error) {
	a, err := k.Kernel.Match(q)
	if err == nil {
		k.Turn.spread(&q, &a)
	}
	return a, err
}
