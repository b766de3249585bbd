package netmon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// part says which part of the state to read again.
type part uint32

const (
	partLinks part = 1 << iota // links and addresses
	partRules
	partRoutes
	everything = partLinks | partRules | partRoutes
)

// source is what the state is read from.
type source struct {
	handle     *netlink.Handle
	kernel     *oracle.Kernel
	everywhere oracle.Everywhere
	kind       func(name, kernel string) string // as in Options; nil: the kernel's kinds
	own        bool                             // the namespace is the process's own, so that its /proc applies
}

// read takes a snapshot. Parts that did not change are copied from the old one. The
// kernel is always asked where packets go. The second result is true if changes
// interrupted the reading so often that the snapshot may be inconsistent; read should
// then be repeated soon. The third result is the time when an answer of the kernel will
// end by itself; zero: none is known to.
func (r *source) read(old *Snapshot, parts part, keepRoutes bool) (*Snapshot, bool, time.Time, error) {
	var state State
	if old != nil {
		state = old.state
	}
	told := parts
	if !keepRoutes {
		state.Routes, state.Specific, parts = nil, nil, parts&^partRoutes
	}
	interrupted := false
	for _, step := range []struct {
		name string
		part part
		read func() error
	}{
		{"links", partLinks, func() error { return r.readLinks(&state) }},
		{"addresses", partLinks, func() error { return readAddrs(r.handle, &state) }},
		{"routes", partRoutes, func() error { return r.readRoutes(&state) }},
		{"rules", partRules, func() error { return r.readRules(&state) }},
	} {
		if parts&step.part == 0 {
			continue
		}
		err := retry(step.read)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			interrupted, err = true, nil
		}
		if err != nil {
			return nil, false, time.Time{}, fmt.Errorf("reading %s: %w", step.name, err)
		}
	}
	if err := r.readDetours(&state); err != nil {
		return nil, false, time.Time{}, fmt.Errorf("reading routes: %w", err)
	}
	until, err := r.askWays(&state)
	if err != nil {
		return nil, false, time.Time{}, err
	}
	if err := r.readGateways(&state); err != nil {
		return nil, false, time.Time{}, err
	}
	state.Pieces = [2]Pieces{}
	if keepRoutes {
		if err := r.readPieces(&state); errors.Is(err, oracle.ErrInterrupted) {
			interrupted = true
		} else if err != nil {
			return nil, false, time.Time{}, fmt.Errorf("reading routes: %w", err)
		}
	}
	for i := range state.Routes {
		if e := state.Routes[i].Expires; e > 0 {
			if end := time.Now().Add(e); until.IsZero() || end.Before(until) {
				until = end
			}
		}
	}
	s := NewSnapshot(state)
	if told&(partLinks|partRoutes) != 0 {
		if err := r.readFallback(s); err != nil {
			return nil, false, time.Time{}, fmt.Errorf("reading routes: %w", err)
		}
	}
	return s, interrupted, until, nil
}

// retry repeats a dump that changes made inconsistent (NLM_F_DUMP_INTR). Each try
// overwrites the result of the one before.
func retry(dump func() error) error {
	const tries = 5 // one is mostly enough, even while hundreds of addresses are being added
	var err error
	for range tries {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

func (r *source) readLinks(state *State) error {
	list, err := r.handle.LinkList()
	state.Links = make([]Link, 0, len(list))
	for _, l := range list {
		a, typ := l.Attrs(), l.Type()
		if r.kind != nil {
			typ = r.kind(a.Name, typ)
		}
		lower := a.ParentIndex
		if l.Type() == kindVeth || a.NetNsID >= 0 {
			lower = 0 // the link's own other end, or a link in another namespace
		}
		state.Links = append(state.Links, Link{
			Index: a.Index, Name: a.Name, Type: typ,
			Up: a.RawFlags&unix.IFF_UP != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0,
			Loopback:     a.RawFlags&unix.IFF_LOOPBACK != 0,
			PointToPoint: a.RawFlags&unix.IFF_POINTOPOINT != 0,
			AltNames:     a.AltNames, MTU: a.MTU, Lower: lower, Master: a.MasterIndex,
		})
	}
	r.readPPP(state.Links)
	return err
}

func readAddrs(h *netlink.Handle, state *State) error {
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	state.Addrs = make([]Addr, 0, len(list))
	for _, a := range list {
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		state.Addrs = append(state.Addrs, Addr{
			Index: a.LinkIndex, Prefix: p, Scope: scopeOf(p.Addr(), a.Scope),
			Deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0,
			// For IPv4 addresses the same bit means "secondary".
			Temporary: a.Flags&unix.IFA_F_TEMPORARY != 0 && p.Addr().Is6(),
			Unusable: a.Flags&unix.IFA_F_DADFAILED != 0 ||
				a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0,
		})
	}
	return err
}

// scopeOf derives the scope from the address. If the kernel's scope is narrower, that
// one counts.
func scopeOf(a netip.Addr, kernel int) Scope {
	scope := ScopeOf(a)
	switch netlink.Scope(kernel) {
	case netlink.SCOPE_HOST:
		scope = min(scope, ScopeHost)
	case netlink.SCOPE_LINK:
		scope = min(scope, ScopeLink)
	}
	return scope
}

// readRoutes reads the routes for Snapshot.Routes.
func (r *source) readRoutes(state *State) error {
	state.Routes, state.Specific = nil, map[TableOf]bool{}
	var interrupted error
	for _, v6 := range []bool{false, true} {
		err := r.kernel.Routes(oracle.Filter{V6: v6}, func(route *oracle.Route) bool {
			if kept(route) {
				state.Routes = append(state.Routes, *route)
			}
			if t, ok := specific(route); ok {
				state.Specific[t] = true
			}
			return true
		})
		if errors.Is(err, oracle.ErrInterrupted) {
			interrupted = netlink.ErrDumpInterrupted
		} else if err != nil {
			return err
		}
	}
	return interrupted
}

// readGateways asks who the gateways of the ways are.
func (r *source) readGateways(state *State) error {
	state.Gateways = map[Gateway]string{}
	for _, w := range state.Ways {
		g := Gateway{w.Index, w.Gateway.Unmap().WithZone("")}
		if _, known := state.Gateways[g]; known || !g.Addr.IsValid() || g.Index <= 0 {
			continue
		}
		n, err := r.kernel.Neighbour(g.Index, g.Addr)
		if err != nil {
			return err
		}
		state.Gateways[g] = n.Hardware.String()
	}
	return nil
}

// readFallback reads the facts for State.Fallback into a snapshot that is not published
// yet. It does so only if some address may be that of a VPN.
func (r *source) readFallback(s *Snapshot) error {
	s.state.Fallback = [2]bool{}
	for i, v6 := range []bool{false, true} {
		w := s.Default(v6)
		if !s.virtual(v6) || w.Table != TableMain || w.Parts {
			continue
		}
		err := r.kernel.Routes(oracle.Filter{V6: v6, Table: TableMain, Device: w.Index}, func(route *oracle.Route) bool {
			behind := route.Leads() && route.Prefix.Bits() == 0 && route.Metric > w.Metric && route.Source != w.Named
			s.state.Fallback[i] = s.state.Fallback[i] || behind
			return !behind
		})
		if err != nil && !errors.Is(err, oracle.ErrInterrupted) {
			return err
		}
	}
	return nil
}

// kept tells whether snapshots hold this route.
func kept(r *oracle.Route) bool {
	return r.Leads() && r.Expires >= 0 && (r.Wide() || r.Table == TableMain && r.Near())
}

// specific returns the table of a route that does not lead to everywhere. It returns
// false for tables in which every host has such routes.
func specific(r *oracle.Route) (TableOf, bool) {
	return TableOf{r.Prefix.Addr().Is6(), r.Table}, r.Table != TableMain && r.Table != tableLocal && !r.Wide()
}

func (r *source) readRules(state *State) error {
	state.Rules = nil
	var interrupted error
	for _, v6 := range []bool{false, true} {
		err := r.kernel.Rules(v6, func(rule *oracle.Rule) { state.Rules = append(state.Rules, *rule) })
		if errors.Is(err, oracle.ErrInterrupted) {
			interrupted = netlink.ErrDumpInterrupted
		} else if err != nil {
			return err
		}
	}
	return interrupted
}

// prefixOf converts a prefix. It returns false if n is nil or not valid.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits != a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones), true
}
