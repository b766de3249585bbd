package socks

import (
	"container/list"
	"context"
	"net/netip"
	"time"
)

const (
	// maxUDPPeers is how many destinations an association remembers. A client of a
	// distributed hash table has a thousand or two under way.
	maxUDPPeers = 4096
	// udpVerdictFor is how long what the rules said about a destination holds. It is
	// short, because an address may become one of the host's own.
	udpVerdictFor = time.Second
)

// udpPeers are the destinations that an association used last, with what the rules
// said about each. The zero value is empty.
type udpPeers struct {
	byPeer map[udpPeer]*list.Element // the elements hold a *udpVerdict
	recent list.List                 // the same; the destination used last is in front
	known  map[netip.Addr]int        // number of allowed destinations, by address; these may answer
}

// udpPeer is a destination: an address, and the name by which the client asked for
// it. The name is part of the key because rules may depend on it.
type udpPeer struct {
	name string // "" if the client gave the address
	addr netip.AddrPort
}

// udpVerdict is what the rules said about a destination.
type udpVerdict struct {
	peer  udpPeer
	err   error // nil: allowed
	until time.Time
}

// verdict returns what the rules said about a destination and notes that it was used.
// known is false if the rules have to be asked.
func (p *udpPeers) verdict(peer udpPeer, now time.Time) (err error, known bool) { //nolint:revive // the error is a value here
	e, ok := p.byPeer[peer]
	if !ok || now.After(e.Value.(*udpVerdict).until) {
		return nil, false
	}
	p.recent.MoveToFront(e)
	return e.Value.(*udpVerdict).err, true
}

// note notes what the rules said about a destination when they were asked. If there are too
// many, the one that was not used for the longest time is forgotten.
func (p *udpPeers) note(peer udpPeer, err error, asked time.Time) {
	if e, known := p.byPeer[peer]; known {
		p.forget(e)
	}
	if p.byPeer == nil {
		p.byPeer, p.known = map[udpPeer]*list.Element{}, map[netip.Addr]int{}
	}
	if len(p.byPeer) >= maxUDPPeers {
		p.forget(p.recent.Back())
	}
	p.byPeer[peer] = p.recent.PushFront(&udpVerdict{peer, err, asked.Add(udpVerdictFor)})
	if err == nil {
		p.known[peer.addr.Addr()]++
	}
}

func (p *udpPeers) forget(e *list.Element) {
	v := p.recent.Remove(e).(*udpVerdict)
	delete(p.byPeer, v.peer)
	if v.err != nil {
		return
	}
	ip := v.peer.addr.Addr()
	if p.known[ip]--; p.known[ip] == 0 {
		delete(p.known, ip)
	}
}

// mayAnswer tells whether the association sent something to ip. The port does not
// count: servers may answer from another one.
func (p *udpPeers) mayAnswer(ip netip.Addr) bool { return p.known[ip] > 0 }

// allow returns what the rules say about a destination.
func (a *association) allow(dest Addr, ap netip.AddrPort) error {
	peer := udpPeer{addr: ap}
	if !dest.IP().IsValid() {
		peer.name = dest.Host
	}
	now := time.Now() // before the question, so that changes during it count
	a.mu.Lock()
	err, known := a.peers.verdict(peer, now)
	a.mu.Unlock()
	if known {
		return err
	}
	sc := a.ss.scope(dest)
	err = sc.check(context.WithValue(a.ctx, scopeKey{}, sc), ap)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers.note(peer, err, now)
	return err
}
