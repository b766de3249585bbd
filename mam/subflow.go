package mam

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// MultipathConn is an MPTCP connection that the policy chooses subflows for. The zero
// value stands for all connections at once.
type MultipathConn struct {
	Local, Remote netip.AddrPort // of the first subflow
	// FirstGone tells that the first subflow is closed while others go on.
	FirstGone bool
	// Remotes are the addresses that further subflows may connect to.
	Remotes []netip.AddrPort
	// Decision is the decision that the connection was opened by, nil if it is unknown;
	// see DecisionFor.
	Decision *Record
	// User is the owner of the connection, if UserKnown is set. Decision names the
	// owner as well.
	User      uint32
	UserKnown bool
	// Late and Progress are those of policy.SubflowRequest.
	Late     bool
	Progress policy.Progress
}

// ChooseSubflows asks the policy which subflows c should have besides its first.
// Answers without sense, such as prefixes that cannot be used, are dropped. An error
// means that the policy could not be asked, or panicked. The caller should then add no
// subflow, since the policy might have forbidden it.
func (m *Manager) ChooseSubflows(c MultipathConn, now time.Time) ([]policy.Subflow, error) {
	v := m.view.Load()
	r := v.subflowRequest(c, now)
	if v.Runner == nil {
		return checkSubflows(r, policy.DefaultSubflows(r)), nil
	}
	var chosen []policy.Subflow
	err := v.Runner.ask(func(p policy.Policy) {
		if sc, ok := p.(policy.SubflowChooser); ok {
			chosen = sc.ChooseSubflows(r)
		} else {
			chosen = policy.DefaultSubflows(r)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("choose subflows: %w", err)
	}
	return checkSubflows(r, chosen), nil
}

// Late asks the policy whether c is so late that other networks should help. It is false if
// the policy is no policy.SubflowHedger.
func (m *Manager) Late(c MultipathConn, now time.Time) (late bool, err error) {
	v := m.view.Load()
	if v.Runner == nil || !v.Runner.HedgesSubflows() {
		return false, nil
	}
	r := v.subflowRequest(c, now)
	err = v.Runner.ask(func(p policy.Policy) { late = p.(policy.SubflowHedger).Late(r) })
	if err != nil {
		return false, fmt.Errorf("judge a connection: %w", err)
	}
	return late, nil
}

// ask calls f with the policy. An error means that the policy could not be asked, or
// panicked.
func (r *Runner) ask(f func(policy.Policy)) error {
	mine, err := r.call(nil, f)
	if !mine {
		return fmt.Errorf("policy %s is out of service", r.Name)
	}
	return err
}

// HedgesSubflows tells whether the policy is a policy.SubflowHedger. It is safe for
// concurrent use.
func (r *Runner) HedgesSubflows() bool {
	_, ok := r.policy.(policy.SubflowHedger)
	return ok
}

// ChoosesSubflows tells whether the policy is a policy.SubflowChooser, and so decides
// about subflows itself.
func (r *Runner) ChoosesSubflows() bool {
	_, ok := r.policy.(policy.SubflowChooser)
	return ok
}

// subflowRequest makes the question for the policy.
func (v *View) subflowRequest(c MultipathConn, now time.Time) *policy.SubflowRequest {
	r := &policy.SubflowRequest{Local: c.Local, Remote: c.Remote, Remotes: c.Remotes, Now: now, Late: c.Late, Progress: c.Progress}
	if !c.Remote.IsValid() {
		r.Prefixes = v.offered[policy.Unspecified]
		return r
	}
	if !c.FirstGone {
		r.First = v.prefixOf(c.Local.Addr())
	}
	user, known := c.User, c.UserKnown
	if c.Decision != nil {
		user, known = c.Decision.App.UID, true
	}
	for _, f := range []policy.Family{policy.IPv4, policy.IPv6} {
		for _, p := range v.offered[f] {
			if slices.ContainsFunc(c.Remotes, func(to netip.AddrPort) bool { return v.reaches(p, to, user, known) }) {
				r.Prefixes = append(r.Prefixes, p)
			}
		}
	}
	if rec := c.Decision; rec != nil {
		if rec.Decision.Only {
			r.Prefixes = slices.DeleteFunc(r.Prefixes, func(p *policy.Prefix) bool { return !rec.permits(p) })
		}
		r.Request = &policy.Request{
			Kind: rec.Kind, Intents: rec.Intents, Network: rec.Network, Host: rec.Host, Service: rec.Service,
			Port: rec.port(), Remote: rec.Remote, Bound: rec.Bound, App: rec.App, Now: rec.Time,
		}
		r.Predicted = rec.predicted(r.First)
	}
	return r
}

// predicted returns how long the policy thought that the transfer would take over p; 0 if
// that is not known.
func (r *Record) predicted(p *policy.Prefix) time.Duration {
	for i := range r.Decision.Scores {
		if s := &r.Decision.Scores[i]; p != nil && s.Prefix != nil && s.Prefix.ID == p.ID {
			return s.Predicted
		}
	}
	return 0
}

// permits tells whether decision r permits a connection to use p.
func (r *Record) permits(p *policy.Prefix) bool {
	is := func(q *policy.Prefix) bool { return q.ID == p.ID } // compares IDs, since q may be from another snapshot
	return r.Decision.Prefix != nil && is(r.Decision.Prefix) || slices.ContainsFunc(r.Decision.Alternates, is)
}

// reaches tells whether the user can reach the destination over p.
func (v *View) reaches(p *policy.Prefix, to netip.AddrPort, user uint32, known bool) bool {
	dst := to.Addr().Unmap()
	if p.Family() != policy.FamilyOf(dst) {
		return false
	}
	return v.leads(p, dst, v.reach(Flow{Dst: dst, User: user, UserUnknown: !known, Transport: policy.Stream, Port: to.Port()}))
}

// checkSubflows drops subflows that were not offered or are named twice, and fills in
// the remote address. Addresses keep the kernel's form, which may be IPv4-mapped.
func checkSubflows(r *policy.SubflowRequest, chosen []policy.Subflow) []policy.Subflow {
	var list []policy.Subflow
	for _, s := range chosen {
		if s.Prefix == nil || !slices.Contains(r.Prefixes, s.Prefix) {
			continue
		}
		if !r.All() {
			i := slices.IndexFunc(r.Remotes, func(to netip.AddrPort) bool {
				return policy.FamilyOf(to.Addr().Unmap()) == s.Prefix.Family() && (!s.Remote.IsValid() || s.Remote == to)
			})
			if i < 0 {
				continue
			}
			s.Remote = r.Remotes[i]
		}
		if !slices.ContainsFunc(list, func(o policy.Subflow) bool { return o.Prefix == s.Prefix && o.Remote == s.Remote }) {
			list = append(list, s)
		}
	}
	return list
}

const (
	// matchReported is the greatest age of a decision that is matched by a reported
	// local port. A dial may take minutes. The port may be in use again by then, but
	// hardly by the same user to the same destination.
	matchReported = 5 * time.Minute
	// matchSilent is the greatest age of a decision that is matched by addresses alone.
	// It is short because most clients connect within milliseconds.
	matchSilent = 30 * time.Second
)

// DecisionFor finds the decision that led to a user's new connection. First choice is
// the latest decision whose client reported this local port. Second choice is the
// latest MPTCP decision without a report that fits the addresses. Decisions of other
// users never count.
func (m *Manager) DecisionFor(local, remote netip.AddrPort, uid uint32, now time.Time) (Record, bool) {
	rec, ok := m.ring.latest(func(rec *Record) bool {
		o := rec.Outcome
		return o != nil && o.Errno == 0 && o.LocalPort == local.Port() && rec.App.UID == uid && now.Sub(rec.Time) < matchReported && rec.fits(local, remote)
	})
	if ok {
		return rec, true
	}
	return m.ring.latest(func(rec *Record) bool {
		return rec.Outcome == nil && rec.Decision.Multipath && rec.App.UID == uid && now.Sub(rec.Time) < matchSilent && rec.fits(local, remote)
	})
}

// DecisionByInode finds the latest decision on a user's socket that the client named by
// its inode, as clients of the Socket Intents prototype do (doc/original/daemon.md 14).
// Another user could name the same inode, so uid must come from the kernel.
func (m *Manager) DecisionByInode(inode uint64, uid uint32) (Record, bool) {
	if inode == 0 {
		return Record{}, false
	}
	return m.ring.latest(func(rec *Record) bool { return rec.Inode == inode && rec.of(uid) })
}

// fits tells whether a connection with these addresses may stem from the decision.
func (rec *Record) fits(local, remote netip.AddrPort) bool {
	if rec.Kind == policy.Resolve || rec.Network.Transport != policy.Stream || rec.Reused {
		return false
	}
	from, to := local.Addr().Unmap(), remote.Addr().Unmap()
	if rec.Remote.IsValid() && (rec.Remote.Addr().Unmap() != to || rec.Remote.Port() != remote.Port()) {
		return false
	}
	if a, err := netip.ParseAddr(rec.Host); err == nil && a.Unmap().WithZone("") != to {
		return false
	}
	if p := rec.port(); p != 0 && p != remote.Port() {
		return false
	}
	d := &rec.Decision
	plain := d.Prefix == nil || rec.Outcome != nil && rec.Outcome.Candidate < 0
	return plain || d.Prefix.Contains(from) || slices.ContainsFunc(d.Alternates, func(p *policy.Prefix) bool { return p.Contains(from) })
}

// port is the remote port, 0 if unknown.
func (rec *Record) port() uint16 {
	if rec.Remote.IsValid() {
		return rec.Remote.Port()
	}
	n, err := strconv.ParseUint(rec.Service, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// latest returns the latest decision that f accepts. The ring is locked while f runs,
// so f must be quick.
func (r *Ring) latest(f func(*Record) bool) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range min(r.seq, uint64(len(r.slots))) {
		if rec := &r.slots[(r.seq-i)%uint64(len(r.slots))]; f(rec) {
			return *rec, true
		}
	}
	return Record{}, false
}
