package socks

import (
	"container/list"
	"context"
	"net/netip"
)

// maxUDPPeers is how many destinations an association remembers. A client of a
// distributed hash table has a thousand or two under way.
const maxUDPPeers = 4096

// udpPeers are the destinations of an association, those used last. The zero value
// has none.
type udpPeers struct {
	byPeer map[udpPeer]*list.Element // of *udpVerdict
	recent list.List
	known  map[netip.Addr]int // that may answer: how many destinations have the address
}

// udpPeer is an address, and how the client asked for it: rules may see a
// difference.
type udpPeer struct {
	name string // "" if by the address
	addr netip.AddrPort
}

// udpVerdict is what the rules say.
type udpVerdict struct {
	peer udpPeer
	err  error
}

// verdict returns what was noted about a peer, which counts as used now.
func (p *udpPeers) verdict(peer udpPeer) (err error, known bool) { //nolint:revive // the error is a value here
	e, ok := p.byPeer[peer]
	if !ok {
		return nil, false
	}
	p.recent.MoveToFront(e)
	return e.Value.(*udpVerdict).err, true
}

func (p *udpPeers) note(peer udpPeer, err error) {
	if _, known := p.byPeer[peer]; known {
		return
	}
	if p.byPeer == nil {
		p.byPeer, p.known = map[udpPeer]*list.Element{}, map[netip.Addr]int{}
	}
	if len(p.byPeer) >= maxUDPPeers {
		p.forget(p.recent.Back())
	}
	p.byPeer[peer] = p.recent.PushFront(&udpVerdict{peer, err})
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

// mayAnswer tells whether something was sent to the address.
func (p *udpPeers) mayAnswer(ip netip.Addr) bool { return p.known[ip] > 0 }

// allow asks the rules once per destination, and remembers who may answer.
func (a *association) allow(dest Addr, ap netip.AddrPort) error {
	peer := udpPeer{addr: ap}
	if !dest.IP().IsValid() {
		peer.name = dest.Host
	}
	a.mu.Lock()
	err, asked := a.peers.verdict(peer)
	a.mu.Unlock()
	if asked {
		return err
	}
	sc := a.ss.scope(dest)
	err = sc.check(context.WithValue(a.ctx, scopeKey{}, sc), ap)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers.note(peer, err)
	return err
}
