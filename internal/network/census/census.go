package census

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const (
	// maxTracked and maxTrackedOfUser bound the connections that are tracked one by
	// one. Each takes about 700 bytes.
	maxTracked       = 16384
	maxTrackedOfUser = 4096
	// maxOwners bounds the users that are counted on one network. An unprivileged user
	// may own 65536 user ids (subuid(5)).
	maxOwners = 4096
	// maxOfPort bounds the connections of a user that wait under one local port. There
	// are several only because the kernel gives a port again for another destination.
	maxOfPort = 64
	// expectedFor is how long after a decision its connection is expected. Most
	// connections stand within a second. A later one counts from its report on.
	expectedFor = 10 * time.Second
)

// Ended is a connection that has ended.
type Ended struct {
	policy.Connection // its Prefix is nil
	Over              policy.PrefixID
	Decider           mam.Decider // the policy whose decision led to it
}

// Census counts connections. It is safe for concurrent use, except that Begin,
// Connection, Ended and End belong to one goroutine at a time.
type Census struct {
	mu       sync.Mutex
	networks map[policy.PrefixID]*network
	tracked  map[uuid.UUID]*connection // by decision
	ofUser   map[uint32]int            // number of tracked connections
	byPort   map[end][]*connection     // reported but not yet listed; at most maxOfPort per key
	byInode  map[socket]*connection    // listed, or named by the client
	byCookie map[uint64]*connection    // listed, or named by the kernel
	parting  map[uint64]*connection    // ended in the last pass; the kernel may still tell their last figures
	pass     uint64                    // number of the present pass, or of the last one
	passed   time.Time                 // when the last one began
	known    bool                      // the latest pass has succeeded
	follows  atomic.Bool               // as Following tells
	ended    func(Ended)
	brought  func(Transfer)
}

// end is a user's end of a connection, and socket is a user's socket. The user is part
// of both, so that naming another user's port or inode finds nothing.
type (
	end struct {
		uid  uint32
		port uint16
	}
	socket struct{ uid, inode uint32 }
)

// network is a prefix with the connections on it.
type network struct {
	listed   map[uint32]int // by user, as in the kernel's list
	next     map[uint32]int // the same, of the pass under way
	expected map[uint32]int // by user: decided on, but not in the list yet
	programs map[program]int

	// The listed connections that are not tracked, by user: those of the last pass, and
	// those of the pass under way.
	others, nextOthers map[uint32]int
}

type program struct {
	uid     uint32
	command string
}

// connection is a connection that a decision led to.
type connection struct {
	id       uuid.UUID
	app      policy.App
	decider  mam.Decider
	token    uint64
	host     string
	remote   netip.AddrPort
	asked    time.Time
	over     policy.PrefixID // zero: unknown so far
	port     uint16          // 0: not reported so far
	inode    uint32          // 0: unknown so far
	cookie   uint64          // 0: unknown so far
	gone     bool            // the kernel says that it has ended
	flow     *flow           // what it brings; nil: nothing is to be learnt from it, or was learnt already
	reported uint64          // the latest pass at the time of the report
	pass     uint64          // the latest pass that listed it; 0: none
	// shown tells that it is counted among the listed ones, and so no longer as
	// expected.
	shown bool
}

// New makes a Census. It calls ended for each connection that has ended, and brought for
// what a connection has brought whose client does not report that, both in the goroutine
// that calls End.
func New(ended func(Ended), brought func(Transfer)) *Census {
	c := &Census{ended: ended, brought: brought}
	c.resetLocked()
	return c
}

// resetLocked forgets everything.
func (c *Census) resetLocked() {
	c.networks, c.tracked, c.ofUser = map[policy.PrefixID]*network{}, map[uuid.UUID]*connection{}, map[uint32]int{}
	c.byPort, c.byInode, c.byCookie = map[end][]*connection{}, map[socket]*connection{}, map[uint64]*connection{}
	c.parting = map[uint64]*connection{}
	c.known = false
}

// Count implements mam.Connections. It appends nothing before the first pass, and while
// the kernel's list cannot be read.
func (c *Census) Count(buf []policy.Connections, prefixes []*policy.Prefix, app policy.App) []policy.Connections {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return buf
	}
	for _, p := range prefixes {
		var n policy.Connections
		if net := c.networks[p.ID]; net != nil {
			n = policy.Connections{
				User:    net.listed[app.UID] + net.expected[app.UID],
				Program: net.programs[program{app.UID, app.Command}],
			}
		}
		buf = append(buf, n)
	}
	return buf
}

// Decided notes a decision that was sent to a client. It keeps no pointer to rec.
func (c *Census) Decided(rec *mam.Record) {
	if !opens(rec) || !rec.Reports && rec.Inode == 0 && rec.Cookie == 0 {
		return // nobody would know its socket
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	over := rec.BoundPrefix
	if !rec.Bound.IsValid() && rec.Decision.Prefix != nil {
		over = rec.Decision.Prefix.ID
	}
	at := socket{rec.App.UID, uint32(rec.Inode)}
	if before := c.byInode[at]; at.inode != 0 && before != nil && before.pass == 0 {
		c.forgetLocked(before) // the client asks again for a socket that is not connected yet
	}
	if before := c.byCookie[rec.Cookie]; rec.Cookie != 0 && before != nil && before.pass == 0 {
		c.forgetLocked(before)
	}
	k := c.trackLocked(rec, over)
	if k != nil && at.inode != 0 && c.byInode[at] == nil {
		k.inode = at.inode
		c.byInode[at] = k
	}
	if k != nil {
		c.knowLocked(k, rec.Cookie)
	}
}

// knowLocked notes the cookie of k's socket, unless that is another connection's.
func (c *Census) knowLocked(k *connection, cookie uint64) {
	if cookie != 0 && k.cookie == 0 && c.byCookie[cookie] == nil {
		k.cookie = cookie
		c.byCookie[cookie] = k
	}
}

// opens tells whether a decision leads to a new connection of a known user.
func opens(rec *mam.Record) bool {
	return rec.Kind != policy.Resolve && rec.Network.Transport == policy.Stream && !rec.Refused && !rec.Reused &&
		(rec.App.UID != 0 || rec.App.PID != 0) && userid.Known(rec.App.UID)
}

// Reported notes a client's report on a decision.
func (c *Census) Reported(rec *mam.Record) {
	o := rec.Outcome
	if o == nil || !opens(rec) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.tracked[rec.ID]
	n := int(o.Candidate)
	switch {
	case o.Errno != 0 && k == nil:
	case o.Errno != 0 && n >= 0 && n < len(rec.Decision.Alternates):
		if next := rec.Decision.Alternates[n].ID; k.port == 0 && k.over == candidate(rec, n) {
			c.moveLocked(k, next)
		}
	case o.Errno != 0: // the last candidate has failed, or there was none
		if k.port == 0 {
			c.forgetLocked(k)
		}
	case o.LocalPort == 0 || k != nil && k.port != 0:
	default:
		over := candidate(rec, n)
		if k == nil {
			if k = c.trackLocked(rec, over); k == nil {
				return
			}
		}
		k.port, k.reported = o.LocalPort, c.pass
		if k.pass != 0 {
			return // its inode is known already
		}
		c.moveLocked(k, over)
		if at := k.end(); len(c.byPort[at]) < maxOfPort {
			c.byPort[at] = append(c.byPort[at], k)
		} else {
			c.forgetLocked(k)
		}
	}
}

// candidate returns the network of the n-th candidate of a decision; zero if there is
// none.
func candidate(rec *mam.Record, n int) policy.PrefixID {
	switch {
	case rec.Bound.IsValid():
		return rec.BoundPrefix
	case n == 0 && rec.Decision.Prefix != nil:
		return rec.Decision.Prefix.ID
	case n > 0 && n <= len(rec.Decision.Alternates):
		return rec.Decision.Alternates[n-1].ID
	}
	return policy.PrefixID{}
}

// trackLocked begins to track the connection of a decision. It returns nil if too many
// are tracked.
func (c *Census) trackLocked(rec *mam.Record, over policy.PrefixID) *connection {
	uid := rec.App.UID
	if !c.known || len(c.tracked) >= maxTracked || c.ofUser[uid] >= maxTrackedOfUser || c.tracked[rec.ID] != nil {
		return nil
	}
	k := &connection{
		id: rec.ID, app: rec.App, decider: rec.Decider, token: rec.Decision.Token, host: rec.Host, remote: rec.Remote, asked: rec.Time,
		flow: flowOf(rec),
	}
	c.tracked[k.id] = k
	c.follows.Store(true)
	c.ofUser[uid]++
	c.moveLocked(k, over)
	return k
}

// moveLocked makes k count on another network.
func (c *Census) moveLocked(k *connection, over policy.PrefixID) {
	if k.over == over {
		return
	}
	c.countLocked(k, -1)
	k.over, k.shown = over, false
	c.countLocked(k, 1)
}

// countLocked adds n to each count that k is part of.
func (c *Census) countLocked(k *connection, n int) {
	if k.over == (policy.PrefixID{}) {
		return
	}
	net := c.networkLocked(k.over)
	add(net.programs, program{k.app.UID, k.app.Command}, n)
	if k.pass == 0 && !k.shown {
		add(net.expected, k.app.UID, n)
	}
}

func (c *Census) networkLocked(id policy.PrefixID) *network {
	net := c.networks[id]
	if net == nil {
		net = &network{
			listed: map[uint32]int{}, next: map[uint32]int{}, expected: map[uint32]int{}, programs: map[program]int{},
			others: map[uint32]int{}, nextOthers: map[uint32]int{},
		}
		c.networks[id] = net
	}
	return net
}

// add adds n to a count, and removes a count that is zero.
func add[K comparable](m map[K]int, k K, n int) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}

// setShownLocked makes k no longer count as expected, because it is among the listed
// ones.
func (c *Census) setShownLocked(k *connection) {
	if !k.shown && k.pass == 0 && k.over != (policy.PrefixID{}) {
		add(c.networks[k.over].expected, k.app.UID, -1)
	}
	k.shown = true
}

func (c *Census) forgetLocked(k *connection) {
	c.countLocked(k, -1)
	delete(c.tracked, k.id)
	add(c.ofUser, k.app.UID, -1)
	if c.byInode[k.socket()] == k {
		delete(c.byInode, k.socket())
	}
	if c.byCookie[k.cookie] == k {
		delete(c.byCookie, k.cookie)
	}
	c.unawaitLocked(k)
}

func (k *connection) end() end       { return end{k.app.UID, k.port} }
func (k *connection) socket() socket { return socket{k.app.UID, k.inode} }

// unawaitLocked removes k from the connections that wait under their port.
func (c *Census) unawaitLocked(k *connection) {
	list := slices.DeleteFunc(c.byPort[k.end()], func(o *connection) bool { return o == k })
	if len(list) == 0 {
		delete(c.byPort, k.end())
	} else {
		c.byPort[k.end()] = list
	}
}

// Begin begins a pass over the kernel's list. It discards an unfinished pass.
func (c *Census) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pass++
	for _, net := range c.networks {
		clear(net.next)
		clear(net.nextOthers)
	}
}

// Connection notes a connection in the kernel's list. It returns true if what the connection
// brings is followed.
func (c *Census) Connection(over policy.PrefixID, s *pathstat.Connection) (follow bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Inode == 0 || !userid.Known(s.UID) {
		k := c.byCookie[s.Cookie]
		if k == nil {
			return false
		}
		k.flow.note(s) // its program has closed it
		return k.flow != nil
	}
	net := c.networkLocked(over)
	if net.next[s.UID] == 0 && len(net.next) >= maxOwners {
		return false
	}
	net.next[s.UID]++
	k := c.findLocked(over, s)
	if k == nil {
		net.nextOthers[s.UID]++
		return false
	}
	if k.pass == 0 { // the first pass that lists it
		if others := c.networkLocked(k.over).others; k.shown && others[s.UID] > 0 {
			add(others, s.UID, -1) // until now it was counted as one of these
		}
		c.unawaitLocked(k)
		c.setShownLocked(k)
		k.inode = s.Inode
		c.byInode[k.socket()] = k
	}
	k.pass = c.pass
	c.moveLocked(k, over)
	k.shown = true
	c.knowLocked(k, s.Cookie)
	k.flow.note(s)
	return k.flow != nil
}

// findLocked finds the tracked connection that a listed one belongs to.
func (c *Census) findLocked(over policy.PrefixID, s *pathstat.Connection) *connection {
	if k := c.byCookie[s.Cookie]; k != nil && k.app.UID == s.UID {
		return k
	}
	if k := c.byInode[socket{s.UID, s.Inode}]; k != nil && s.Inode != 0 {
		return k
	}
	for _, k := range c.byPort[end{s.UID, s.Local.Port()}] {
		switch {
		case k.over != (policy.PrefixID{}) && k.over != over:
		case k.remote.IsValid() && (k.remote.Addr().Unmap().WithZone("") != s.Remote.Addr().Unmap() || k.remote.Port() != s.Remote.Port()):
		default:
			return k
		}
	}
	return nil
}

// Fail notes that the kernel's list could not be read. Nothing is known from then on.
func (c *Census) Fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resetLocked()
}

// End ends a pass. If the pass is not complete, a missing connection does not count as
// ended.
func (c *Census) End(now time.Time, complete bool) {
	ended, brought := c.end(now, complete)
	for _, t := range brought {
		c.brought(t)
	}
	for _, e := range ended {
		c.ended(e)
	}
}

// Following implements pathstat.Watcher. It returns true if a connection is expected, if one has
// ended, or if what one brings is followed.
func (c *Census) Following() bool { return c.follows.Load() }

func (c *Census) end(now time.Time, complete bool) (ended []Ended, brought []Transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = true
	c.claimLocked()
	for id, net := range c.networks {
		net.listed, net.next = net.next, net.listed
		net.others, net.nextOthers = net.nextOthers, net.others
		if len(net.listed)+len(net.expected)+len(net.programs) == 0 {
			delete(c.networks, id)
		}
	}
	for cookie, k := range c.parting {
		brought = c.measureLocked(brought, k, now, true)
		delete(c.parting, cookie)
	}
	for _, k := range c.tracked {
		switch {
		case k.pass == c.pass:
			brought = c.measureLocked(brought, k, now, false)
		case k.gone: // its figures are the last ones
			ended = append(ended, k.asEnded(now))
			brought = c.partLocked(brought, k, now)
			c.forgetLocked(k)
		case k.pass == 0 && k.port == 0: // it was never reported
			if now.Sub(k.asked) >= expectedFor {
				c.forgetLocked(k)
			}
		case !complete, k.pass == 0 && k.reported >= c.pass: // the pass may have been beyond its place in the list when it opened
		default:
			ended = append(ended, k.asEnded(now))
			brought = c.partLocked(brought, k, now)
			c.forgetLocked(k)
		}
	}
	c.passed = now
	follows := len(c.parting) > 0
	for _, k := range c.tracked {
		follows = follows || k.pass == 0 || k.flow != nil || k.gone
	}
	c.follows.Store(follows)
	return ended, brought
}

func (k *connection) asEnded(now time.Time) Ended {
	return Ended{policy.Connection{Token: k.token, App: k.app, Host: k.host, Remote: k.remote, Began: k.asked, Ended: now}, k.over, k.decider}
}

// claimLocked matches connections that the kernel lists for the first time, and that
// nobody has reported, with expected ones.
func (c *Census) claimLocked() {
	type user struct {
		net *network
		uid uint32
	}
	anew := map[user]int{}
	for _, net := range c.networks {
		for uid := range net.expected {
			if more := net.nextOthers[uid] - net.others[uid]; more > 0 {
				anew[user{net, uid}] = more
			}
		}
	}
	if len(anew) == 0 {
		return
	}
	for _, k := range c.tracked {
		at := user{c.networks[k.over], k.app.UID}
		if k.pass == 0 && !k.shown && anew[at] > 0 {
			anew[at]--
			c.setShownLocked(k)
		}
	}
}
