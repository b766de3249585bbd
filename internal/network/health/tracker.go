package health

import (
	"slices"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Constants of the state machine.
const (
	// lossLimit is the number of connects that must fail in a row before a prefix is no
	// longer offered to a user. A single failure may be the destination's fault.
	lossLimit = 3
	// lossWindow is how long a failed connect counts.
	lossWindow = 30 * time.Second
	// firstHold is how long a user is not offered a prefix after the first doubt. It is
	// short, so that the prefix is used again within seconds of its recovery. Each
	// failed trial doubles it, up to maxHold.
	firstHold = 3 * time.Second
	maxHold   = 48 * time.Second
	// stallDelay is how long all connections of a prefix must have heard nothing, while
	// some wait for an acknowledgement, to count as stalled. On any usable path,
	// retransmissions (RFC 6298) get an answer sooner.
	stallDelay = time.Second
	// probeLimit is the number of probes that must fail in a row to confirm a doubt. A
	// single datagram may be lost.
	probeLimit = 2

	// Flap damping works as for routes (RFC 2439). Each loss of the link adds 1 to a
	// penalty that halves every flapHalfLife. When the penalty reaches flapSuppress,
	// the prefix is down until the penalty has fallen below flapReuse.
	flapHalfLife = 10 * time.Second
	flapSuppress = 2.5 // three losses within 3 s, or four within 12 s
	flapReuse    = 1.0
	flapMax      = 6.0 // at most 26 s of suppression

	// maxUsers bounds the users with doubts about a prefix. maxGone bounds the vanished
	// prefixes that are remembered, each for goneTime.
	maxUsers = 256
	maxGone  = 64
	goneTime = 2 * time.Minute
)

// Network is what the kernel says about a prefix.
type Network struct {
	ID      policy.PrefixID
	Index   int  // of the interface; a new index means a new network
	Running bool // the link can carry packets
	// Far tells that the prefix should reach destinations beyond its link, for which it
	// needs a default route. Default tells whether it has one.
	Far, Default bool
	// Refused says what a route or a rule of the host does with the prefix's packets,
	// such as "prohibited"; "" if the packets may pass.
	Refused string
	// Gateway identifies the gateway, in any form. A new value means that the gateway
	// has changed.
	Gateway string
	// Doubt says why connections may not get far, in the words of a service of the host
	// that has tried; "": no service says so. It makes the prefix suspect. Probes of
	// another kind do not remove it, but a probe that fails confirms it.
	Doubt string
	// Portal is what the network itself has told of a portal, for people; "": nothing.
	// That alone does not make the prefix suspect, because the portal may be open.
	Portal string
	// Costs tells that traffic is paid for by its amount, probes included.
	Costs bool
}

// Connect is the result of a client's attempt on a prefix.
type Connect struct {
	Prefix policy.PrefixID
	UID    uint32
	OK     bool
	// Elsewhere tells that the destination of a failed attempt answered over another
	// prefix. If it is false, the destination itself may be dead, so all failures at
	// one destination count once.
	Elsewhere bool
	Remote    string // the destination, in any form
}

// Flow is what the kernel shows about a prefix's connections.
type Flow struct {
	// Stalled is the number of connections that retransmit without an acknowledgement.
	Stalled int
	// Heard is the time since any connection of the prefix has received something;
	// negative: unknown, or never.
	Heard time.Duration
}

// Probe is the result of a probe.
type Probe struct {
	OK     bool
	Reason string // of the failure, for people
}

// Tracker keeps the state of prefixes. It is not safe for concurrent use. The zero
// value is ready to use.
type Tracker struct {
	prefixes map[policy.PrefixID]*prefix
}

type prefix struct {
	net        Network
	known      bool // net is set
	gone       time.Time
	hadDefault bool
	health     policy.Health

	penalty   float64
	penaltyAt time.Time
	damped    bool

	users map[uint32]*doubt

	stalled bool
	proven  bool // a probe has succeeded since connections began to stall

	probeFails  int
	probeReason string
	probed      bool // since the present Doubt and Portal
}

// doubt is what one user's connects say against a prefix.
type doubt struct {
	failures int
	remote   string // destination of the last failure that did not succeed elsewhere
	last     time.Time
	until    time.Time // until when the prefix is not offered; zero: it is offered
	hold     time.Duration
}

// Networks tells the Tracker which prefixes exist and what the kernel says about them.
// When a network is replaced or its link comes back, the Tracker forgets all evidence
// about it, except how often the link was lost. Networks returns these prefixes and
// those that were unknown before: evidence from earlier is not about them.
func (t *Tracker) Networks(now time.Time, list []Network) (anew []policy.PrefixID) {
	if t.prefixes == nil {
		t.prefixes = map[policy.PrefixID]*prefix{}
	}
	present := map[policy.PrefixID]bool{}
	for _, n := range list {
		present[n.ID] = true
		p := t.prefixes[n.ID]
		if p == nil {
			p = &prefix{}
			t.prefixes[n.ID] = p
		}
		if p.set(now, n) {
			anew = append(anew, n.ID)
		}
	}
	for id, p := range t.prefixes {
		switch {
		case present[id]:
		case p.gone.IsZero():
			if p.usable() {
				p.lost(now)
			}
			p.gone = now
		case now.Sub(p.gone) > goneTime:
			delete(t.prefixes, id)
		}
	}
	t.forgetGone()
	return anew
}

// forgetGone bounds the memory on a host that often gets new prefixes.
func (t *Tracker) forgetGone() {
	var gone []policy.PrefixID
	for id, p := range t.prefixes {
		if !p.gone.IsZero() {
			gone = append(gone, id)
		}
	}
	if len(gone) <= maxGone {
		return
	}
	slices.SortFunc(gone, func(a, b policy.PrefixID) int { return t.prefixes[a].gone.Compare(t.prefixes[b].gone) })
	for _, id := range gone[:len(gone)-maxGone] {
		delete(t.prefixes, id)
	}
}

// usable tells whether the prefix can be used, judged by the kernel alone.
func (p *prefix) usable() bool { return p.net.Running && (p.net.Default || !p.hadDefault) }

// set takes what the kernel says now, and tells whether evidence must be collected
// anew.
func (p *prefix) set(now time.Time, n Network) (anew bool) {
	was := p.known && p.gone.IsZero() && p.usable()
	anew = !p.known
	replaced := p.known && (!p.gone.IsZero() || p.net.Index != n.Index)
	rerouted := p.known && n.Default && (!p.net.Default || p.net.Gateway != n.Gateway)
	if replaced {
		p.hadDefault, p.health = false, policy.Health{}
	}
	if was && replaced {
		p.lost(now) // it was lost for too short a time to be seen
	}
	if p.net.Doubt != n.Doubt || p.net.Portal != n.Portal {
		p.probed = false
	}
	p.net, p.known, p.gone = n, true, time.Time{}
	p.hadDefault = n.Far && (p.hadDefault || n.Default)
	is := p.usable()
	if was && !is {
		p.lost(now)
	}
	if replaced || rerouted || is && !was {
		anew = true
		p.users, p.stalled, p.proven, p.probeFails, p.probed = nil, false, false, 0, false
	}
	return anew
}

// lost counts a loss of the link.
func (p *prefix) lost(now time.Time) {
	p.penalty = min(p.decayed(now)+1, flapMax)
	p.penaltyAt = now
	if p.penalty >= flapSuppress {
		p.damped = true
	}
}

// Connect takes the result of a client's attempt.
func (t *Tracker) Connect(now time.Time, c Connect) {
	p := t.prefixes[c.Prefix]
	if p == nil || !p.gone.IsZero() {
		return
	}
	if c.OK {
		delete(p.users, c.UID)
		return
	}
	d := p.users[c.UID]
	if d == nil {
		if len(p.users) >= maxUsers {
			return
		}
		d = &doubt{hold: firstHold}
		if p.users == nil {
			p.users = map[uint32]*doubt{}
		}
		p.users[c.UID] = d
	}
	switch {
	case now.Before(d.until): // the attempt began before the doubt
		return
	case d.until.IsZero() && now.Sub(d.last) > lossWindow:
		*d = doubt{hold: firstHold}
	}
	if !c.Elsewhere {
		if d.remote == c.Remote && d.until.IsZero() && d.failures > 0 {
			d.last = now
			return
		}
		d.remote = c.Remote
	}
	d.failures++
	d.last = now
	switch {
	case !d.until.IsZero(): // this was a trial
		d.hold = min(2*d.hold, maxHold)
		d.until = now.Add(d.hold)
	case d.failures >= lossLimit:
		d.until = now.Add(d.hold)
	}
}

// Flow takes what the kernel shows about the prefix's connections.
func (t *Tracker) Flow(id policy.PrefixID, f Flow) {
	p := t.prefixes[id]
	if p == nil {
		return
	}
	p.stalled = f.Stalled > 0 && (f.Heard < 0 || f.Heard >= stallDelay)
	p.proven = p.proven && p.stalled
}

// Probe takes the result of a probe. A success ends the doubts of all users. If
// connections still stall after it, their destinations are blamed.
func (t *Tracker) Probe(id policy.PrefixID, r Probe) {
	p := t.prefixes[id]
	if p == nil {
		return
	}
	p.probed = true
	switch {
	case r.OK:
		p.probeFails, p.probeReason, p.users, p.proven = 0, "", nil, p.stalled
	default:
		p.proven = false
		p.probeFails, p.probeReason = min(p.probeFails+1, probeLimit), r.Reason
	}
}
