package pathmanager

import (
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// connection is an MPTCP connection that this host opened.
type connection struct {
	token         mptcp.Token
	local, remote netip.AddrPort // of the first subflow, in the kernel's form
	uid           uint32
	owned         bool        // uid is set
	decision      *mam.Record // nil: not known
	established   bool        // more subflows may be opened
	denyJoin      bool        // the peer accepts no subflows to remote
	announced     map[uint8]netip.AddrPort
	subflows      []subflow
	ids           map[netip.Addr]uint8 // IDs of local addresses; the first one has 0
	failed        map[path]failure
	carried       carried
	unreported    bool            // it waits for a report that tells by which decision it was opened
	late          bool            // the policy has found it late
	progress      policy.Progress // when it did so last
}

// question is what the policy is asked about c.
func (c *connection) question() mam.MultipathConn {
	return mam.MultipathConn{
		Local: c.local, Remote: c.remote, Remotes: c.remotes(), Decision: c.decision, User: c.uid, UserKnown: c.owned,
		FirstGone: c.find(pathOf(c.local.Addr(), c.remote)) == nil, Late: c.late, Progress: c.progress,
	}
}

// subflow is an existing subflow, or one that was asked for.
type subflow struct {
	local, remote netip.AddrPort // in the kernel's form; while pending, local has port 0
	localID       uint8
	backup        bool
	pending       bool      // asked for, and not answered yet
	since         time.Time // when it was asked for
}

// path is the pair of addresses that a subflow connects, not IPv4-mapped.
type path struct {
	local  netip.Addr
	remote netip.AddrPort
}

func (s subflow) path() path { return pathOf(s.local.Addr(), s.remote) }

func pathOf(local netip.Addr, remote netip.AddrPort) path {
	return path{local.Unmap(), plain(remote)}
}

// plain turns an IPv4-mapped address into an IPv4 address.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// failure is what is known about a path on which a subflow has failed.
type failure struct {
	times int
	until time.Time // when to try again
}

const (
	// firstPause follows the first failure. Each further failure doubles the pause.
	firstPause = time.Second
	// maxFailures is the number of failures after which a path is not tried again until
	// the networks change. That is after two minutes in all.
	maxFailures = 7
	// pendingLimit is how long a SYN may go unanswered before the subflow counts as
	// failed. It is the longest time that tcp_syn_retries allows, and serves if the
	// kernel reports no failure.
	pendingLimit = 130 * time.Second
)

// fail notes a failure.
func (c *connection) fail(p path, now time.Time) {
	f := c.failed[p]
	f.until = now.Add(firstPause << min(f.times, maxFailures))
	f.times++
	if c.failed == nil {
		c.failed = map[path]failure{}
	}
	c.failed[p] = f
}

// blocked tells whether a path must not be tried now, and how long that lasts; a wait
// of 0 means for good.
func (c *connection) blocked(p path, now time.Time) (blocked bool, wait time.Duration) {
	f, ok := c.failed[p]
	switch {
	case !ok:
		return false, 0
	case f.times >= maxFailures:
		return true, 0
	}
	wait = f.until.Sub(now)
	return wait > 0, max(wait, 0)
}

// remotes returns the addresses that subflows may connect to.
func (c *connection) remotes() []netip.AddrPort {
	var list []netip.AddrPort
	if !c.denyJoin {
		list = append(list, c.remote)
	}
	for id := range 256 {
		a, ok := c.announced[uint8(id)]
		if !ok {
			continue
		}
		if a.Port() == 0 {
			a = netip.AddrPortFrom(a.Addr(), c.remote.Port())
		}
		if !slices.ContainsFunc(list, func(b netip.AddrPort) bool { return plain(a) == plain(b) }) {
			list = append(list, a)
		}
	}
	return list
}

// find returns the subflow on a path, nil if there is none.
func (c *connection) find(p path) *subflow {
	for i := range c.subflows {
		if c.subflows[i].path() == p {
			return &c.subflows[i]
		}
	}
	return nil
}

// remove forgets the subflow on a path.
func (c *connection) remove(p path) {
	c.subflows = slices.DeleteFunc(c.subflows, func(s subflow) bool { return s.path() == p })
}

// idFor returns the address ID of a local address. It assigns a new one if needed, and
// returns 0 if none is left.
func (c *connection) idFor(a netip.Addr) uint8 {
	if id, ok := c.ids[a]; ok {
		return id
	}
	used := map[uint8]bool{}
	for _, id := range c.ids {
		used[id] = true
	}
	for _, s := range c.subflows {
		used[s.localID] = true
	}
	for id := 1; id < 256; id++ {
		if !used[uint8(id)] {
			if c.ids == nil {
				c.ids = map[netip.Addr]uint8{}
			}
			c.ids[a] = uint8(id)
			return uint8(id)
		}
	}
	return 0
}
