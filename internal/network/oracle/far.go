package oracle

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Everywhere is a list of destinations that stand in for "everywhere". Nothing is sent
// to them. The way that most of them have counts as the way to everywhere, so that
// single ones may be blackholed or have a route of their own. For a family without
// destinations, those of Destinations are used. The lists must not be changed.
type Everywhere struct{ V4, V6 []netip.Addr }

// Destinations returns the list that is used if none is configured. Its unicast
// addresses are spread over what the regional registries have assigned. So the halves
// of the address space, or many routes for all but the private networks, are not
// mistaken for something else.
func Destinations() Everywhere { return destinations() }

// destinations is made once, because each conclusion uses the list.
var destinations = sync.OnceValue(func() Everywhere {
	var list []netip.Addr
	for _, a := range []string{
		// The two halves of the address space alternate, because the first few
		// addresses often decide.
		"5.188.10.1", "131.107.3.1", "23.64.3.1", "154.65.11.1", "45.85.7.1", "186.33.2.1", "77.91.20.1", "213.95.8.1", "103.41.9.1",
		"2001:1bc8::1", "2003:d1::1", "2400:8a20::1", "2600:7c0::1", "2620:9b::1", "2804:5c0::1", "2a01:6e0::1", "2a0d:3f40::1", "2c0f:9e8::1",
	} {
		list = append(list, netip.MustParseAddr(a))
	}
	return EverywhereOf(list)
})

// EverywhereOf sorts a list by family.
func EverywhereOf(list []netip.Addr) (e Everywhere) {
	for _, a := range list {
		if a = a.Unmap(); a.Is4() {
			e.V4 = append(e.V4, a)
		} else {
			e.V6 = append(e.V6, a)
		}
	}
	return e
}

// of returns the list for a family, or that of Destinations if e has none.
func (e Everywhere) of(v6 bool) []netip.Addr {
	switch {
	case v6 && len(e.V6) > 0:
		return e.V6
	case !v6 && len(e.V4) > 0:
		return e.V4
	case v6:
		return destinations().V6
	}
	return destinations().V4
}

// Way is where packets to most far destinations go. The zero value means that they go
// nowhere, or that there is no majority.
type Way struct {
	Verdict Verdict
	Hop
	Table  int
	Metric int
	// Source is the address that the kernel gives to sockets without one. It is known
	// only if the question had no source.
	Source netip.Addr
	// Named is the source that most of the routes name for such sockets (RTA_PREFSRC),
	// whatever the source in the question; invalid if there is none.
	Named netip.Addr
	// BySource tells that the route is only for certain sources. IPv6 has such routes.
	BySource bool
	// Shared tells that the kernel spreads connections over several interfaces (ECMP).
	// Index is then the one that gets the most connections, or the first of several
	// such.
	Shared bool
	// Pieces tells that neither a default route nor half of one leads there, but many
	// routes to smaller networks.
	Pieces bool
	// Parts tells that no default route leads there, but routes to halves or to smaller
	// networks.
	Parts bool
	// Until is the time when the kernel will stop using a route unless it is renewed;
	// zero: never.
	Until time.Time
}

// asker answers the questions that conclusions need. Outside of tests it is a Kernel.
type asker interface {
	Match(Question) (Answer, error)
	Source(Question) (netip.Addr, Hop, error)
}

// vote is what answers must have in common to count for the same way.
type vote struct {
	verdict Verdict
	index   int
	shared  bool
}

// Far returns the way to everywhere for a packet like q, whose destination is ignored.
// It stops asking as soon as the majority is clear. An error means that the kernel
// could not be asked.
func (e Everywhere) Far(k asker, v6 bool, q Question) (Way, error) {
	list := e.of(v6)
	votes := map[vote][]Answer{}
	dsts := map[vote][]netip.Addr{}
	for i, dst := range list {
		q.Dst = dst
		a, err := k.Match(q)
		if err != nil {
			return Way{}, err
		}
		v := vote{a.Verdict, 0, false}
		if a.Verdict == Sent {
			v.index, v.shared = a.Index, a.Shared()
			if v.shared {
				v.index = 0
			}
		}
		votes[v] = append(votes[v], a)
		dsts[v] = append(dsts[v], dst)
		if 2*len(votes[v]) > len(list) && !half(votes[v]) {
			return conclude(k, q, votes[v], dsts[v])
		}
		if best, _ := mostVotes(votes); 2*best+2*(len(list)-i-1) <= len(list) {
			break // no majority is possible any more
		}
	}
	n, most := mostVotes(votes)
	if 2*n <= len(list) {
		return Way{}, nil
	}
	// Half of all addresses is not everywhere, however many of the destinations lie in
	// it. The verdict on the other half tells which case this is.
	first := votes[most]
	delete(votes, most)
	switch _, rest := mostVotes(votes); {
	case rest.verdict == NoRoute:
		return Way{}, nil
	case rest.verdict == Sent && votes[rest][0].Prefix.IsValid() && votes[rest][0].Prefix.Bits() == 0:
		return conclude(k, q, votes[rest], dsts[rest]) // a default route, beside a tunnel for the half
	}
	return conclude(k, q, first, dsts[most])
}

// half tells whether answers are by routes to less than all of IPv4, and all of these are in the same
// half of it. All of IPv6 that is in use is in one half.
func half(answers []Answer) bool {
	const topBit = 0x80
	first := answers[0].Prefix
	return answers[0].Verdict == Sent && !slices.ContainsFunc(answers, func(a Answer) bool {
		p := a.Prefix
		return !p.IsValid() || p.Addr().Is6() || p.Bits() == 0 || (p.Addr().As4()[0]^first.Addr().As4()[0])&topBit != 0
	})
}

// coverAll tells whether routes to everywhere, all of one family, leave nothing out.
// Half of a default route may stand beside pieces of the other half.
func coverAll(routes map[netip.Prefix]bool) bool {
	for p := range routes {
		if p.Bits() != 1 {
			return true
		}
	}
	return len(routes) == 2
}

// mostVotes is the vote of most, and how many those are; the zero value without any votes.
func mostVotes(votes map[vote][]Answer) (n int, most vote) {
	for v, list := range votes {
		if len(list) > n {
			n, most = len(list), v
		}
	}
	return n, most
}

// conclude makes the way from answers that agree.
func conclude(k asker, q Question, answers []Answer, dsts []netip.Addr) (Way, error) {
	first := answers[0]
	w := Way{Verdict: first.Verdict}
	if first.Verdict != Sent {
		return w, nil
	}
	w.Hop, w.Table, w.Metric, w.Shared = first.Hop, first.Table, first.Metric, first.Shared()
	w.Named, w.BySource = named(answers), first.BySource
	pieces, parts := 0, 0
	whole := map[netip.Prefix]bool{}
	for i := range answers {
		if wide(answers[i].Prefix) {
			whole[answers[i].Prefix] = true
		} else {
			pieces++
		}
		if answers[i].Prefix.Bits() > 0 {
			parts++
		}
		if e := answers[i].Expires; e > 0 {
			if until := time.Now().Add(e); w.Until.IsZero() || until.Before(w.Until) {
				w.Until = until
			}
		}
	}
	w.Pieces, w.Parts = 2*pieces > len(answers) || pieces > 0 && !coverAll(whole), 2*parts > len(answers)
	if q.Src.IsValid() {
		return w, nil
	}
	q.Dst = dsts[0]
	if w.Shared { // the kernel decides for each connection which one it is
		q.Device = w.Index
	}
	source, _, err := k.Source(q)
	w.Source = source
	return w, err
}

// named returns the source that most of the routes name.
func named(answers []Answer) netip.Addr {
	for i := range answers {
		n := 0
		for j := range answers {
			if answers[j].Source == answers[i].Source {
				n++
			}
		}
		if 2*n > len(answers) {
			return answers[i].Source
		}
	}
	return netip.Addr{}
}

// Devices returns the interfaces over which the kernel spreads the traffic of w, a way
// that Far found for the same question. An error means that the kernel could not be
// asked.
func (e Everywhere) Devices(k asker, v6 bool, q Question, w Way) ([]int, error) {
	for _, dst := range e.of(v6) {
		q.Dst = dst
		a, err := k.Match(q)
		if err != nil {
			return nil, err
		}
		if a.Verdict == Sent && a.Shared() == w.Shared && a.Table == w.Table && a.Index == w.Index {
			list := []int{a.Index}
			for _, h := range a.More {
				if !slices.Contains(list, h.Index) {
					list = append(list, h.Index)
				}
			}
			return list, nil
		}
	}
	return nil, nil
}

// wide tells whether a route leads to everywhere: a default route, one of the
// two halves that VPNs install instead of it, or 2000::/3, all of IPv6 that is
// in use.
func wide(p netip.Prefix) bool {
	return p.IsValid() && (p.Bits() <= 1 || p == unicast6)
}

var unicast6 = netip.MustParsePrefix("2000::/3")
