package pathmanager

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// subflows is the part of the kernel that a steerer needs. It is a *mptcp.Conn.
type subflows interface {
	CreateSubflow(t mptcp.Token, local mptcp.Endpoint, remote netip.AddrPort) error
	DestroySubflow(t mptcp.Token, local, remote netip.AddrPort) error
	SetSubflowFlags(t mptcp.Token, local, remote netip.AddrPort, flags mptcp.Flags) error
	Remove(t mptcp.Token, id uint8) error
}

// sockets tells about the connections of the host. It is a *mptcp.Diag.
type sockets interface {
	UID(mptcp.Token) (uint32, error)
	Carried(mptcp.Token) (sent, received uint64, err error)
}

// steerer opens and closes the subflows of the connections that this host opened. Its
// methods take the time, and return after how long to call it again at the latest; 0
// means never. It is not safe for concurrent use.
type steerer struct {
	kernel subflows
	policy Policy
	hosts  sockets
	log    *slog.Logger

	conns map[mptcp.Token]*connection
	// managed are local addresses of subflows that were on managed prefixes. The
	// network of such an address can be gone; about other addresses nothing is known.
	managed map[netip.Addr]bool
}

func newSteerer(kernel subflows, p Policy, hosts sockets, log *slog.Logger) *steerer {
	return &steerer{kernel: kernel, policy: p, hosts: hosts, log: log, conns: map[mptcp.Token]*connection{}, managed: map[netip.Addr]bool{}}
}

// handle takes an event.
func (s *steerer) handle(e mptcp.Event, now time.Time) time.Duration {
	c := s.conns[e.Token]
	switch e.Type {
	case mptcp.Created, mptcp.Established:
		if e.Server || !e.Remote.IsValid() {
			return 0
		}
		if c == nil {
			c = &connection{token: e.Token, local: e.Local, remote: e.Remote}
			c.subflows = []subflow{{local: e.Local, remote: e.Remote}}
			s.conns[e.Token] = c
		}
		c.denyJoin = c.denyJoin || e.DenyJoin
		c.established = c.established || e.Type == mptcp.Established
		if c.carried.begun.IsZero() {
			c.carried = carried{begun: now, came: now, first: true}
		}
	case mptcp.Closed:
		delete(s.conns, e.Token)
		return 0
	case mptcp.Announced:
		if c == nil || !e.Remote.IsValid() {
			return 0
		}
		if c.announced == nil {
			c.announced = map[uint8]netip.AddrPort{}
		}
		c.announced[e.RemoteID] = e.Remote
	case mptcp.Removed:
		if c != nil {
			delete(c.announced, e.RemoteID)
		}
		return 0
	case mptcp.SubflowEstablished:
		if c == nil {
			return 0
		}
		p := pathOf(e.Local.Addr(), e.Remote)
		c.remove(p)
		c.subflows = append(c.subflows, subflow{local: e.Local, remote: e.Remote, localID: e.LocalID, backup: e.Backup})
		delete(c.failed, p)
	case mptcp.SubflowClosed:
		if c == nil {
			return 0
		}
		p := pathOf(e.Local.Addr(), e.Remote)
		if found := c.find(p); found == nil || !found.pending && found.local.Port() != e.Local.Port() {
			return 0 // it was closed by the steerer, which may open a new one
		}
		c.remove(p)
		c.fail(p, now)
	case mptcp.SubflowPriority:
		if c != nil {
			if f := c.find(pathOf(e.Local.Addr(), e.Remote)); f != nil {
				f.backup = e.Backup
			}
		}
		return 0
	default:
		return 0
	}
	return s.sync(c, now)
}

// adopt takes over the kernel's list of connections, at the start and after events were
// lost.
func (s *steerer) adopt(list []mptcp.Connection, now time.Time) time.Duration {
	old := s.conns
	s.conns = map[mptcp.Token]*connection{}
	for _, l := range list {
		c := old[l.Token]
		if l.Fallback || l.Server || l.Remote.Addr().IsUnspecified() || c == nil && !slices.ContainsFunc(l.Subflows, func(i mptcp.SubflowInfo) bool { return i.First }) {
			continue // not ours, or unknown whose; events will tell of new ones
		}
		if c == nil {
			c = &connection{token: l.Token, local: l.Local, remote: l.Remote}
		}
		if uid, ok := l.Owner(); ok {
			c.uid, c.owned = uid, true
		}
		c.subflows = nil
		for _, i := range l.Subflows {
			c.established = c.established || i.Established
			c.subflows = append(c.subflows, subflow{local: i.Local, remote: i.Remote, localID: i.LocalID, backup: i.Backup, pending: !i.Established && !i.First, since: now})
		}
		s.conns[l.Token] = c
	}
	return s.syncAll(now)
}

// changed is called when networks or the policy have changed. Failed paths are then
// tried again.
func (s *steerer) changed(now time.Time) time.Duration {
	for _, c := range s.conns {
		c.failed = nil
	}
	return s.syncAll(now)
}

// reported is called when a client has reported a connection from a local port.
func (s *steerer) reported(port uint16, now time.Time) time.Duration {
	var wait time.Duration
	for _, c := range s.conns {
		if c.local.Port() == port && (c.decision == nil || c.decision.Outcome == nil) {
			c.decision = nil
			wait = sooner(wait, s.sync(c, now))
		}
	}
	return wait
}

func (s *steerer) syncAll(now time.Time) time.Duration {
	used := map[netip.Addr]bool{}
	for _, c := range s.conns {
		for _, f := range c.subflows {
			used[f.local.Addr().Unmap()] = true
		}
	}
	maps.DeleteFunc(s.managed, func(a netip.Addr, _ bool) bool { return !used[a] })
	var wait time.Duration
	for _, c := range s.conns {
		wait = sooner(wait, s.sync(c, now))
	}
	return wait
}

// sooner returns the shorter of two waits, of which 0 is the longest.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// sync opens subflows that the policy wants and that are missing, and closes those on
// networks that are gone.
func (s *steerer) sync(c *connection, now time.Time) (wait time.Duration) {
	if !c.established {
		return 0
	}
	view := s.policy.View()
	up := usable(view)
	for _, f := range c.subflows {
		if a := f.local.Addr().Unmap(); up[a] != nil {
			s.managed[a] = true
		}
	}
	if c.decision == nil {
		c.decision = s.decisionOn(c, now)
	}
	if c.unreported = s.awaits(c, now); c.unreported {
		s.dropLost(c, up)
		return 0
	}
	chosen, err := s.policy.ChooseSubflows(c.question(), now)
	if err != nil {
		s.log.Warn("MPTCP connection gets no further subflows", "token", c.token, "err", err)
	}
	for _, want := range chosen {
		wait = sooner(wait, s.want(c, view, want, now))
	}
	s.dropLost(c, up)
	return wait
}

// decisionOn finds the decision that c was opened by, nil if that is not known. If c's
// user is not known, it returns nil: another user with the same address must not lend
// the connection its intents.
func (s *steerer) decisionOn(c *connection, now time.Time) *mam.Record {
	if !c.owned {
		uid, err := s.hosts.UID(c.token)
		if err != nil {
			s.log.Debug("MPTCP connection of an unknown user", "err", err)
			return nil
		}
		c.uid, c.owned = uid, true
	}
	if rec, ok := s.policy.DecisionFor(c.local, c.remote, c.uid, now); ok {
		return &rec
	}
	return nil
}

// usable returns the managed prefixes that are not down, by local address.
func usable(v *mam.View) map[netip.Addr]*policy.Prefix {
	up := map[netip.Addr]*policy.Prefix{}
	for _, p := range v.Prefixes {
		if p.Health.State == policy.Down {
			continue
		}
		for _, a := range p.Addrs {
			up[a] = p
		}
	}
	return up
}

// want opens a subflow unless one exists on its path.
func (s *steerer) want(c *connection, view *mam.View, want policy.Subflow, now time.Time) (wait time.Duration) {
	local := want.Prefix.Addr()
	p := pathOf(local, want.Remote)
	if f := c.find(p); f != nil {
		switch {
		case f.pending && now.Sub(f.since) < pendingLimit:
			return pendingLimit - now.Sub(f.since)
		case f.pending:
			c.remove(p)
			c.fail(p, now)
		case f.backup != want.Backup:
			s.setBackup(c, f, want.Backup)
			return 0
		default:
			return 0
		}
	}
	if want.Prefix.Health.State == policy.Down {
		return 0 // offered only because nothing else is left
	}
	if blocked, wait := c.blocked(p, now); blocked {
		return wait
	}
	e := endpoint(view, want)
	e.Flags &= mptcp.FlagBackup // the kernel sets the flag for its use itself
	if e.ID = c.idFor(local); e.ID == 0 {
		return 0
	}
	if err := s.kernel.CreateSubflow(c.token, e, plain(want.Remote)); err != nil {
		s.log.Debug("MPTCP subflow refused", "err", err)
		c.fail(p, now)
		_, wait := c.blocked(p, now)
		return wait
	}
	s.managed[local] = true
	c.subflows = append(c.subflows, subflow{
		local: netip.AddrPortFrom(local, 0), remote: want.Remote, localID: e.ID, backup: want.Backup, pending: true, since: now,
	})
	return pendingLimit
}

func (s *steerer) setBackup(c *connection, f *subflow, backup bool) {
	var flags mptcp.Flags
	if backup {
		flags = mptcp.FlagBackup
	}
	f.backup = backup // whether this works or not, it is not tried again
	if err := s.kernel.SetSubflowFlags(c.token, f.local, f.remote, flags); err != nil {
		s.log.Debug("MPTCP subflow keeps its priority", "err", err)
	}
}

// dropLost closes subflows whose network is gone, so that peer and kernel need not wait
// for timeouts. It keeps the last subflow, because the network may come back.
func (s *steerer) dropLost(c *connection, up map[netip.Addr]*policy.Prefix) {
	lost := func(f subflow) bool {
		a := f.local.Addr().Unmap()
		return s.managed[a] && up[a] == nil
	}
	if !slices.ContainsFunc(c.subflows, func(f subflow) bool { return !f.pending && !lost(f) }) {
		return
	}
	told := map[uint8]bool{}
	for _, f := range slices.Clone(c.subflows) {
		if !lost(f) {
			continue
		}
		if !told[f.localID] {
			told[f.localID] = true
			if err := s.kernel.Remove(c.token, f.localID); err != nil {
				s.log.Debug("MPTCP peer is not told that an address is gone", "err", err)
			}
		}
		c.remove(f.path())
		if f.pending {
			continue // it has no port yet, and the kernel will give it up by itself
		}
		if err := s.kernel.DestroySubflow(c.token, f.local, f.remote); err != nil {
			s.log.Debug("MPTCP subflow on a lost network stays", "err", err)
		}
	}
}
