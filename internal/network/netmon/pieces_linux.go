package netmon

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// maxPieces bounds the pieces, and the other routes, that are looked at. A VPN for
// everything but one network has some thirty pieces; lists of whole countries have
// thousands.
const maxPieces = 8192

// readPieces reads the pieces by which a VPN takes all traffic. It reads nothing if a
// default route, or routes for its two halves, do that instead.
func (r *source) readPieces(state *State) error {
	s := NewSnapshot(*state)
	for i, v6 := range []bool{false, true} {
		l, ok := s.FullTunnel(v6)
		if !ok {
			continue
		}
		p := Pieces{Table: s.Default(v6).Table, Index: l.Index}
		if p.Table == 0 || coversAll(state.Routes, &p, v6) {
			continue
		}
		found, err := r.pieces(&p, v6)
		if err != nil {
			return err
		}
		if found {
			state.Pieces[i] = p
		}
	}
	return nil
}

// coversAll tells whether the VPN's routes together cover every address.
func coversAll(routes []oracle.Route, p *Pieces, v6 bool) bool {
	halves := 0
	for i := range routes {
		r := &routes[i]
		if r.Table != p.Table || r.Prefix.Addr().Is6() != v6 || !slices.Contains(r.Devices(), p.Index) {
			continue
		}
		if r.Prefix.Bits() == 0 {
			return true
		}
		if r.Prefix.Bits() == 1 {
			halves++
		}
	}
	return halves >= 2
}

// pieces fills in p from the routes of its table. It returns false if the table has
// only wide routes, or far too many pieces.
func (r *source) pieces(p *Pieces, v6 bool) (bool, error) {
	all := map[netip.Prefix]bool{}
	err := r.kernel.Routes(oracle.Filter{V6: v6, Table: p.Table, Device: p.Index}, func(route *oracle.Route) bool {
		all[route.Prefix] = true
		return len(all) <= maxPieces
	})
	if err != nil || len(all) > maxPieces {
		return false, err
	}
	pieces := map[netip.Prefix]bool{}
	for q := range all {
		if !private(q) && !within(q, all) && !(&oracle.Route{Prefix: q}).Wide() {
			pieces[q] = true
			p.Prefixes = append(p.Prefixes, q)
		}
	}
	slices.SortFunc(p.Prefixes, func(a, b netip.Prefix) int { return cmp.Or(a.Bits()-b.Bits(), a.Addr().Compare(b.Addr())) })
	if len(p.Prefixes) == 0 {
		return false, nil
	}
	err = r.kernel.Routes(oracle.Filter{V6: v6, Table: p.Table}, func(route *oracle.Route) bool {
		// A route that refuses needs no entry. suppress_prefixlength does not hold it back,
		// so the lookup ends at it in the VPN's table.
		if !route.Leads() || route.Wide() || route.Prefix.Bits() > p.Longest() || pieces[route.Prefix] {
			return true
		}
		o := route.Slot()
		o.Table, o.Metric = 0, 0
		if !slices.Contains(p.Others[max(0, len(p.Others)-1):], o) { // routes with other metrics follow directly
			p.Others = append(p.Others, o)
		}
		return len(p.Others) <= maxPieces
	})
	return err == nil && len(p.Others) <= maxPieces, err
}

// within tells whether a prefix lies in a wider one of the set.
func within(q netip.Prefix, all map[netip.Prefix]bool) bool {
	for bits := q.Bits() - 1; bits >= 0; bits-- {
		if wider, err := q.Addr().Prefix(bits); err == nil && all[wider] {
			return true
		}
	}
	return false
}

// notEverywhere are networks that nobody reaches over the Internet. A VPN's route to
// one of them is meant for that network alone.
var notEverywhere = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
	site, netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

func private(q netip.Prefix) bool {
	return slices.ContainsFunc(notEverywhere, func(n netip.Prefix) bool { return n.Bits() <= q.Bits() && n.Contains(q.Addr()) })
}
