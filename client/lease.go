package client

import (
	"container/list"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// defaultMaxLeases is the number of leases that are kept by default. It is more
	// than the destinations of most programs at a time, and costs some hundred
	// kilobytes.
	defaultMaxLeases = 1024
	// leaseReport is how long uses of leases are collected before they are reported. A
	// report costs both processes as much as a decision. People who read the counts can
	// wait that long.
	leaseReport = time.Second
	// maxLeaseReport bounds the leases that one message reports on.
	maxLeaseReport = 64
	// maxUntold bounds the leases with uses that were not reported yet.
	maxUntold = 4096
	// maxAlike bounds the leases for one destination, which differ in their intents.
	maxAlike = 16
	// aliveEvery is how often to check the connection to the manager while only leases
	// are used. A manager that was killed cannot end its leases, so the client must
	// notice.
	aliveEvery = 100 * time.Millisecond
)

// leaseKey is the part of a question that must be the same for a lease to answer it.
// Intents are not part of it: each lease says which intents may differ.
type leaseKey struct {
	action        wire.Action
	typ, family   int32
	host, service string         // host "" stands for every name
	protocol      int32          // of an existing socket
	remote, bound netip.AddrPort // remote: destination of an existing socket
	origin        wire.Origin
	selection     SelectionProperties
	idle          string // where the idle connections are; see idleOn
}

// lease is an answer that also holds for later questions.
type lease struct {
	key      leaseKey
	intents  intent.Set // intents of the question
	answer   *wire.Message
	features wire.Features
	page     *generation.Page
	until    time.Time
	left     uint32 // connections left, if the lease limits them
	bytes    uint64 // bytes left, if the lease limits them
}

// leases holds the leases of a Daemon, the most recently used first. The zero value
// holds none.
type leases struct {
	mu    sync.Mutex
	all   list.List // of *lease
	byKey map[leaseKey][]*list.Element
	alive time.Time // when the manager was last seen alive

	untold map[uuid.UUID]wire.LeaseUse // uses to report, by decision
	timer  *time.Timer                 // starts the report; nil: none was deferred yet
	runs   bool                        // timer is running
}

// leased answers a question by a lease, or returns nil. The caller must not change the
// answer or anything it points to.
func (d *Daemon) leased(k *leaseKey, named bool, s intent.Set, now time.Time) *lease {
	ls := &d.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.byKey) == 0 || d.DecisionTimeout < 0 {
		return nil
	}
	if now.Sub(ls.alive) > aliveEvery {
		if d.gone() {
			ls.clearLocked()
			return nil
		}
		ls.alive = now
	}
	l := ls.findLocked(*k, s, now)
	if l == nil && named {
		every := *k
		every.host = ""
		l = ls.findLocked(every, s, now)
	}
	if l == nil {
		return nil
	}
	ls.noteLocked(wire.LeaseUse{ID: l.answer.DecisionID, Uses: 1})
	if !ls.runs {
		ls.runs = true
		if ls.timer == nil {
			ls.timer = time.AfterFunc(leaseReport, d.tellLeases)
		} else {
			ls.timer.Reset(leaseReport)
		}
	}
	return l
}

// findLocked returns a lease that holds, and forgets those that it finds ended.
func (ls *leases) findLocked(k leaseKey, s intent.Set, now time.Time) *lease {
	for _, e := range ls.byKey[k] {
		l := e.Value.(*lease)
		if !now.Before(l.until) || !l.holds() {
			ls.dropLocked(e) // safe in this loop: it makes a new list
			continue
		}
		if !l.answer.Lease.Alike(l.intents, s) {
			continue
		}
		if !l.take(s) {
			ls.dropLocked(e)
			continue
		}
		ls.all.MoveToFront(e)
		return l
	}
	return nil
}

// holds tells whether the manager has not ended the lease.
func (l *lease) holds() bool {
	g := l.answer.Lease
	return l.page.Load(generation.View) == g.View &&
		(g.Measurements == 0 || l.page.Load(generation.Measurements) == g.Measurements) &&
		l.works(0)
}

// works tells whether the network of a candidate has not failed since the lease was
// granted.
func (l *lease) works(candidate Candidate) bool {
	list := l.answer.Lease.Networks
	if candidate < 0 || int(candidate) >= len(list) {
		return true
	}
	n := list[candidate]
	return n.Index == generation.View || l.page.Load(n.Index) == n.Value
}

// take uses up one connection of the lease, if its limits allow one.
func (l *lease) take(s intent.Set) bool {
	g := l.answer.Lease
	if g.Uses > 0 && l.left == 0 {
		return false
	}
	size, _ := s.FileSize()
	size = max(size, 0)
	if g.Bytes > 0 && uint64(size) > l.bytes {
		return false
	}
	if g.Uses > 0 {
		l.left--
	}
	if g.Bytes > 0 {
		l.bytes -= uint64(size)
	}
	return true
}

// keepLease keeps an answer that has a lease. The answer is that to the question with
// key k, asked at the time asked. It must not be changed any more.
func (d *Daemon) keepLease(k *leaseKey, s intent.Set, ans *wire.Message, from answerer, asked time.Time) {
	g := ans.Lease
	if g == nil || from.page == nil || ans.DecisionID == uuid.Nil || from.features&wire.FeatureReports == 0 || d.MaxLeases < 0 {
		return
	}
	l := &lease{
		key: *k, intents: s, answer: ans, features: from.features, page: from.page, left: g.Uses, bytes: g.Bytes,
		until: asked.Add(time.Duration(g.Milliseconds) * time.Millisecond),
	}
	if g.Flags&wire.LeaseAnyName != 0 {
		l.key.host = ""
	}
	ls := &d.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	most := d.MaxLeases
	if most == 0 {
		most = defaultMaxLeases
	}
	for i, e := range ls.byKey[l.key] {
		if old := e.Value.(*lease); i >= maxAlike-1 || !old.holds() || old.answer.Lease.Alike(old.intents, s) {
			ls.dropLocked(e)
		}
	}
	for ls.all.Len() >= most {
		ls.dropLocked(ls.all.Back())
	}
	if ls.byKey == nil {
		ls.byKey = map[leaseKey][]*list.Element{}
	}
	ls.byKey[l.key] = append(ls.byKey[l.key], ls.all.PushFront(l))
	ls.alive = time.Now()
}

// dropLocked forgets a lease, but not its uses that are still to be reported. It
// replaces the list of the lease's key instead of changing it, because the caller may
// be iterating over it.
func (ls *leases) dropLocked(e *list.Element) {
	l := ls.all.Remove(e).(*lease)
	var rest []*list.Element
	for _, o := range ls.byKey[l.key] {
		if o != e {
			rest = append(rest, o)
		}
	}
	if ls.byKey[l.key] = rest; len(rest) == 0 {
		delete(ls.byKey, l.key)
	}
}

// doubt forgets a lease whose first choice was slow or failed. The manager is then
// asked about the next connection, and may know better.
func (d *Daemon) doubt(l *lease) {
	ls := &d.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, e := range ls.byKey[l.key] {
		if e.Value.(*lease) == l {
			ls.dropLocked(e)
		}
	}
}

func (ls *leases) clearLocked() {
	ls.all.Init()
	clear(ls.byKey)
}

// voidLeases forgets all leases, because the manager is a new one or gone.
func (d *Daemon) voidLeases() {
	d.leases.mu.Lock()
	defer d.leases.mu.Unlock()
	d.leases.clearLocked()
}

// gone tells whether the manager has closed the idle connection that would be used
// next. Without such a connection nothing is known, and gone is false.
func (d *Daemon) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.idle)
	return n > 0 && hungUp(d.idle[n-1].nc)
}

// noteLocked adds to the uses to report. The number of decisions in it is bounded,
// since there may be no manager to report to.
func (ls *leases) noteLocked(u wire.LeaseUse) {
	have, ok := ls.untold[u.ID]
	switch {
	case ok:
		u.Uses += have.Uses
		u.Connected += have.Connected
	case len(ls.untold) >= maxUntold:
		return
	case ls.untold == nil:
		ls.untold = map[uuid.UUID]wire.LeaseUse{}
	}
	ls.untold[u.ID] = u
}

// connected notes that a connection by a lease succeeded as the decision said.
func (d *Daemon) connected(id uuid.UUID, took time.Duration) {
	ms := milliseconds(took)
	d.leases.mu.Lock()
	defer d.leases.mu.Unlock()
	d.leases.noteLocked(wire.LeaseUse{ID: id, Connected: 1, Milliseconds: ms})
}

// untoldLeases puts uses that were not reported yet into req, as many as one message
// has room for. If req could not be sent, call takeBack.
func (d *Daemon) untoldLeases(req *wire.Message) (takeBack func()) {
	ls := &d.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	req.Leased = nil
	for id, u := range ls.untold {
		if len(req.Leased) == maxLeaseReport {
			break
		}
		req.Leased = append(req.Leased, u)
		delete(ls.untold, id)
	}
	told := req.Leased
	return func() {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		for _, u := range told {
			ls.noteLocked(u)
		}
	}
}

// tellLeases reports the collected uses, unless another request has taken them along.
func (d *Daemon) tellLeases() {
	ls := &d.leases
	ls.mu.Lock()
	if ls.runs {
		ls.timer.Stop()
		ls.runs = false
	}
	n := len(ls.untold)
	ls.mu.Unlock()
	for ; n > 0; n -= maxLeaseReport {
		d.report(false, &wire.Message{Action: wire.ActionReportRequest})
	}
}

// stopLeases forgets all leases and the uses that were not reported.
func (d *Daemon) stopLeases() {
	ls := &d.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.clearLocked()
	clear(ls.untold)
	if ls.timer != nil {
		ls.timer.Stop()
		ls.runs = false
	}
}

// leaseKey returns the key of a question about t.
func (t *target) leaseKey(action wire.Action, origin *wire.Origin, members []wire.SetMember) *leaseKey {
	k := &leaseKey{action: action, typ: t.typ, family: t.family, host: t.host, service: strconv.Itoa(int(t.port)), bound: t.bound, selection: t.selection, idle: idleOn(members)}
	if origin != nil {
		k.origin = *origin
	}
	return k
}

// idleOn encodes the networks that the members are on, in the order of the first member
// on each.
func idleOn(members []wire.SetMember) string {
	var b []byte
	for i := range members {
		b = appendWhere(b, &members[i].Context)
	}
	return string(b)
}

// appendWhere appends the network of an idle connection, and whether it is Multipath
// TCP, unless list has the pair already.
func appendWhere(list []byte, c *wire.Context) []byte {
	w := whereOf(c)
	for rest := list; len(rest) > 0; rest = rest[len(w):] {
		if string(rest[:len(w)]) == string(w[:]) {
			return list
		}
	}
	return append(list, w[:]...)
}

// where is an address and whether the connection is Multipath TCP. It has no zone,
// because addresses with a zone are never decided on.
type where [17]byte

func whereOf(c *wire.Context) (w where) {
	a := c.BindSuggested.AddrPort.Addr().As16()
	copy(w[:], a[:])
	if c.Protocol == wire.ProtoMPTCP {
		w[16] = 1
	}
	return w
}

// existing returns the member that the lease means: the first one on the network that
// the decision chose.
func (l *lease) existing(members []wire.SetMember) (fd int32, ok bool) {
	on := whereOf(&l.answer.Context)
	for i := range members {
		if whereOf(&members[i].Context) == on {
			return members[i].FD, true
		}
	}
	return 0, false
}

// plan makes a plan for t from the lease.
func (l *lease) plan(t target, choose bool, members []wire.SetMember) (*plan, error) {
	p, err := newDecision(t, choose, l.features, l.answer)
	if err != nil {
		return nil, err
	}
	p.lease = l
	if p.reuse {
		fd, ok := l.existing(members)
		if !ok {
			return nil, errNoMember
		}
		p.existing = fd
		return p, nil
	}
	kept := p.candidates[:0]
	for _, c := range p.candidates {
		if l.works(c.index) {
			kept = append(kept, c)
		}
	}
	p.candidates = kept
	return p, nil
}

// exchangeKey returns the key of a request about an existing socket.
func exchangeKey(req *wire.Message, origin *wire.Origin) *leaseKey {
	c := &req.Context
	k := &leaseKey{
		action: req.Action, typ: c.Type, family: c.Domain, protocol: c.Protocol, host: c.Hostname, service: c.Service,
		remote: c.Remote.AddrPort, bound: c.BindRequested.AddrPort,
	}
	if origin != nil {
		k.origin = *origin
	}
	return k
}
