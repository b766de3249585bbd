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
	// defaultMaxLeases is how many leases are kept: more destinations than most
	// programs have at a time, and some hundred kilobytes.
	defaultMaxLeases = 1024
	// leaseReport is how long uses of leases are collected. A report costs both
	// processes as much as a decision; counts that people read may be so old.
	leaseReport = time.Second
	// maxLeaseReport is how many leases one message tells of.
	maxLeaseReport = 64
	// maxUntold is how many leases there may be something to tell of.
	maxUntold = 4096
	// maxAlike is how many leases for the same destination are kept, which differ by
	// their intents.
	maxAlike = 16
	// aliveEvery is how often the connection to the manager is looked at while only
	// leases are used: one that was killed makes none void.
	aliveEvery = 100 * time.Millisecond
)

// leaseKey is what of a question must be the same for a lease to answer it. The
// intents are compared by each lease, as it says.
type leaseKey struct {
	action        wire.Action
	typ, family   int32
	host, service string         // host is "" for every name
	protocol      int32          // of a socket that there is already
	remote, bound netip.AddrPort // remote: that it is to be connected to
	origin        wire.Origin
	selection     SelectionProperties
	idle          string // where idle connections are, in the order of the first of each
}

// lease is an answer that holds for further questions.
type lease struct {
	key      leaseKey
	intents  intent.Set // of the question
	answer   *wire.Message
	features wire.Features
	page     *generation.Page
	until    time.Time
	left     uint32 // uses; if the lease limits them
	bytes    uint64 // left; if the lease limits them
}

// leases are those of a Daemon, the least recently used last. The zero value has none.
type leases struct {
	mu    sync.Mutex
	all   list.List // of *lease
	byKey map[leaseKey][]*list.Element
	alive time.Time // when the manager was last seen alive

	untold map[uuid.UUID]wire.LeaseUse // uses, by the decision
	timer  *time.Timer                 // tells of them; nil: none was deferred yet
	runs   bool                        // timer does
}

// leased answers a question by a lease, if there is one. The answer and what it refers
// to must not be changed.
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

// findLocked looks for a lease that holds, and forgets those that do not any more.
func (ls *leases) findLocked(k leaseKey, s intent.Set, now time.Time) *lease {
	for _, e := range ls.byKey[k] {
		l := e.Value.(*lease)
		if !now.Before(l.until) || !l.holds() {
			ls.dropLocked(e) // of another slice than this one, see there
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

// holds tells whether nothing has happened that ends the lease.
func (l *lease) holds() bool {
	g := l.answer.Lease
	return l.page.Load(generation.View) == g.View &&
		(g.Measurements == 0 || l.page.Load(generation.Measurements) == g.Measurements) &&
		l.works(0)
}

// works tells whether the network of a candidate has not failed since.
func (l *lease) works(candidate Candidate) bool {
	list := l.answer.Lease.Networks
	if candidate < 0 || int(candidate) >= len(list) {
		return true
	}
	n := list[candidate]
	return n.Index == generation.View || l.page.Load(n.Index) == n.Value
}

// take uses the lease once, if its limits allow.
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

// keepLease keeps an answer with its lease, if it has one. It is that to the question
// with the key k, put at the time asked. The answer must not be changed any more.
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

// dropLocked forgets a lease, but not what is to be told of it. The list of its key is
// replaced and not changed: the caller may be going through it.
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

// doubt forgets a lease whose first choice was slow or failed, so that the manager is
// asked about the next connection: it may know better by then.
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

// voidLeases forgets all leases: the manager is another one, or gone.
func (d *Daemon) voidLeases() {
	d.leases.mu.Lock()
	defer d.leases.mu.Unlock()
	d.leases.clearLocked()
}

// gone tells whether the manager has closed the connection that would be used next. It is
// not known while there is none.
func (d *Daemon) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.idle)
	return n > 0 && hungUp(d.idle[n-1].nc)
}

// noteLocked adds to what is to be told. While nobody can be told, it is of so many
// decisions only.
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

// connected notes that a connection by the lease of a decision was made as that said.
func (d *Daemon) connected(id uuid.UUID, took time.Duration) {
	ms := uint32(max(0, min(took.Milliseconds(), 1<<32-1)))
	d.leases.mu.Lock()
	defer d.leases.mu.Unlock()
	d.leases.noteLocked(wire.LeaseUse{ID: id, Connected: 1, Milliseconds: ms})
}

// untoldLeases puts into req what was not told yet, as far as one message has room. The
// function is to be called if the request could not be sent.
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

// tellLeases tells of the uses that were collected. Any other request takes them along.
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

// stopLeases forgets leases and what was not told of them.
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

// leaseKey is that of a question about t.
func (t *target) leaseKey(action wire.Action, origin *wire.Origin, members []wire.SetMember) *leaseKey {
	k := &leaseKey{action: action, typ: t.typ, family: t.family, host: t.host, service: strconv.Itoa(int(t.port)), bound: t.bound, selection: t.selection, idle: idleOn(members)}
	if origin != nil {
		k.origin = *origin
	}
	return k
}

// idleOn says on which networks the members are, in the order of the first on each.
func idleOn(members []wire.SetMember) string {
	var b []byte
	for i := range members {
		b = appendWhere(b, &members[i].Context)
	}
	return string(b)
}

// appendWhere appends what tells the manager the network of an idle connection, and
// whether it is Multipath TCP, unless list has that already.
func appendWhere(list []byte, c *wire.Context) []byte {
	w := whereOf(c)
	for rest := list; len(rest) > 0; rest = rest[len(w):] {
		if string(rest[:len(w)]) == string(w[:]) {
			return list
		}
	}
	return append(list, w[:]...)
}

// where is an address and whether it is of Multipath TCP. Zones do not count: what has
// one is not decided on.
type where [17]byte

func whereOf(c *wire.Context) (w where) {
	a := c.BindSuggested.AddrPort.Addr().As16()
	copy(w[:], a[:])
	if c.Protocol == wire.ProtoMPTCP {
		w[16] = 1
	}
	return w
}

// existing is the member that the lease means: the first on the network that was chosen
// one of.
func (l *lease) existing(members []wire.SetMember) (fd int32, ok bool) {
	on := whereOf(&l.answer.Context)
	for i := range members {
		if whereOf(&members[i].Context) == on {
			return members[i].FD, true
		}
	}
	return 0, false
}

// plan is what the lease says of t.
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

// exchangeKey is that of a request with a socket that there is already.
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
