package netmon

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// inquiry fills in the ways of a state.
type inquiry struct {
	*source
	asking oracle.Turning
	state  *State
	until  time.Time
}

// askWays asks the kernel which way it would send from each prefix. It returns the time
// when one of the answers ends by itself. A source address that has vanished meanwhile
// is skipped, because an event follows.
func (r *source) askWays(state *State) (time.Time, error) {
	state.Ways, state.Barred = map[Vantage]oracle.Way{}, map[netip.Addr]oracle.Verdict{}
	state.Turn = oracle.Turn{}
	q := inquiry{source: r, asking: oracle.Turning{Kernel: r.kernel}, state: state}
	for _, unbound := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if _, err := q.ask(Vantage{Source: unbound}); err != nil {
			return q.until, err
		}
	}
	s := NewSnapshot(*state)
	if err := q.devices(s); err != nil {
		return q.until, err
	}
	if state.Turn = turn(state); len(state.Turn.Hops) > 0 {
		q.asking.Turn = state.Turn
		delete(state.Ways, Vantage{Source: netip.IPv4Unspecified()})
		if _, err := q.ask(Vantage{Source: netip.IPv4Unspecified()}); err != nil {
			return q.until, err
		}
	}
	if len(lent(state)) > 0 {
		s = NewSnapshot(*state) // now also with the addresses that ways by devices have named
	}
	for i := range s.prefixes {
		if p := &s.prefixes[i]; p.Scope == ScopeGlobal && !p.Loopback {
			if err := q.prefix(s, p); err != nil {
				return q.until, err
			}
		}
	}
	return q.until, nil
}

// devices asks for the ways by two kinds of interfaces: those with a prefix, and those
// over which the kernel spreads unbound traffic. The latter may have no address of the
// family.
func (q *inquiry) devices(s *Snapshot) error {
	for i := range s.prefixes {
		p := &s.prefixes[i]
		if p.Scope != ScopeGlobal || p.Loopback {
			continue
		}
		if _, err := q.ask(Vantage{unspecified(p.Addrs[0]), p.Index}); err != nil {
			return err
		}
	}
	for _, unbound := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		w := q.state.Ways[Vantage{Source: unbound}]
		if !w.Shared || !w.Named.IsValid() {
			continue
		}
		list, err := q.everywhere.Devices(q.asking, unbound.Is6(), oracle.Question{}, w)
		if err != nil {
			return err
		}
		for _, index := range list {
			if _, err := q.ask(Vantage{unbound, index}); err != nil {
				return err
			}
		}
	}
	return nil
}

// turn finds the default routes of IPv4 among which the kernel changes: those by several
// interfaces that are like the one of unbound sockets. The routes themselves need not be
// read for this.
func turn(state *State) oracle.Turn {
	plain := func(w *oracle.Way) bool {
		return w.Verdict == oracle.Sent && !w.Shared && !w.Parts && w.Gateway.IsValid()
	}
	var list []oracle.Way // by interface
	for v, w := range state.Ways {
		if v.Source == netip.IPv4Unspecified() && v.Device != 0 && w.Index == v.Device && plain(&w) {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b oracle.Way) int { return cmp.Compare(a.Index, b.Index) })
	like, found := state.Ways[Vantage{Source: netip.IPv4Unspecified()}]
	if !found && len(list) > 0 { // the answers for several destinations may have been divided equally
		like = slices.MinFunc(list, func(a, b oracle.Way) int { return cmp.Compare(a.Metric, b.Metric) })
	}
	t := oracle.Turn{Table: like.Table, Metric: like.Metric}
	for _, w := range list {
		if plain(&like) && w.Table == like.Table && w.Metric == like.Metric {
			t.Hops = append(t.Hops, w.Hop)
		}
	}
	if len(t.Hops) < 2 {
		return oracle.Turn{}
	}
	return t
}

// prefix asks the questions whose answers judge uses, in the same order.
func (q *inquiry) prefix(s *Snapshot, p *Prefix) error {
	if _, err := q.ask(Vantage{unspecified(p.Addrs[0]), p.Index}); err != nil {
		return err
	}
	s.order(p)
	own, err := q.ask(Vantage{Source: p.Addrs[0]})
	for i := 0; err == nil && own.Verdict.Refused() && i < len(p.Addrs); i++ {
		if err = q.askNear(p, p.Addrs[i]); err == nil {
			own, err = q.ask(Vantage{Source: p.Addrs[i]})
		}
	}
	if err != nil || own.Verdict == oracle.Sent && !own.Shared && own.Index == p.Index && !p.Twin {
		return err
	}
	for _, a := range p.Addrs {
		if w, ok := q.state.Ways[Vantage{Source: a}]; ok && !w.Verdict.Refused() {
			if _, err := q.ask(Vantage{a, p.Index}); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask asks for the way to everywhere, unless it is known already.
func (q *inquiry) ask(v Vantage) (oracle.Way, error) {
	if w, ok := q.state.Ways[v]; ok {
		return w, nil
	}
	question := oracle.Question{Device: v.Device}
	if !v.Source.IsUnspecified() {
		question.Src = v.Source
	}
	w, err := q.everywhere.Far(q.asking, v.Source.Is6(), question)
	if err != nil {
		return w, err
	}
	if !w.Until.IsZero() && (q.until.IsZero() || w.Until.Before(q.until)) {
		q.until = w.Until
	}
	w.Until = time.Time{} // each router advertisement would change it, which means nothing
	if w != (oracle.Way{}) {
		q.state.Ways[v] = w
	}
	return w, nil
}

// askNear finds out whether neighbours are refused, too. A prefix of a single address
// has no neighbours.
func (q *inquiry) askNear(p *Prefix, source netip.Addr) error {
	neighbour := p.Prefix.Addr().Next()
	if neighbour == source {
		neighbour = neighbour.Next()
	}
	verdict := p.Refused
	if p.Prefix.Contains(neighbour) {
		a, err := q.kernel.Match(oracle.Question{Dst: neighbour, Src: source})
		if err != nil {
			return err
		}
		if !a.Verdict.Refused() {
			return nil
		}
		verdict = a.Verdict
	}
	q.state.Barred[source] = verdict
	return nil
}
