package socks

import (
	"container/list"
	"context"
	"net/netip"
	"slices"
	"time"
)

const (
	// Those used last are remembered.
	maxUDPNames = 64
	udpNameTTL  = 30 * time.Second

	// While a name is looked up, what is to be sent there waits; the rest is dropped.
	// So many names are looked up at once: each takes a goroutine and its questions.
	maxUDPWaiting      = 16 // datagrams for one name
	maxUDPWaitingBytes = 128 << 10
	maxUDPLookUps      = 16
)

// udpNames are the names in an association's datagrams. The zero value has none.
type udpNames struct {
	byHost  map[string]*list.Element // of *udpName
	recent  list.List
	lookUps int
	bytes   int // that wait
}

type udpName struct {
	host    string
	addr    netip.Addr // invalid: there is none
	until   time.Time
	pending bool
	waiting []udpWaiting
}

type udpWaiting struct {
	dest Addr
	data []byte
}

// use returns what is known of a name, nil if it has to be looked up. The name
// counts as used now.
func (n *udpNames) use(host string, now time.Time) *udpName {
	e, ok := n.byHost[host]
	if !ok {
		return nil
	}
	name := e.Value.(*udpName)
	if !name.pending && now.After(name.until) {
		n.forget(e)
		return nil
	}
	n.recent.MoveToFront(e)
	return name
}

// begin notes a name that is going to be looked up, nil if too many are.
func (n *udpNames) begin(host string) *udpName {
	if n.lookUps >= maxUDPLookUps {
		return nil
	}
	if n.byHost == nil {
		n.byHost = map[string]*list.Element{}
	}
	for e := n.recent.Back(); e != nil && len(n.byHost) >= maxUDPNames; {
		older := e.Prev()
		if !e.Value.(*udpName).pending {
			n.forget(e)
		}
		e = older
	}
	n.lookUps++
	name := &udpName{host: host, pending: true}
	n.byHost[host] = n.recent.PushFront(name)
	return name
}

func (n *udpNames) forget(e *list.Element) {
	delete(n.byHost, n.recent.Remove(e).(*udpName).host)
}

// byName sends data to a name, at once if it is known.
func (a *association) byName(data []byte, dest Addr) {
	a.mu.Lock()
	name := a.names.use(dest.Host, time.Now())
	if name == nil && !a.closed {
		if name = a.names.begin(dest.Host); name != nil {
			a.readers.Go(func() { a.lookUp(name) })
		}
	}
	switch {
	case name == nil:
	case !name.pending:
		ip := name.addr
		a.mu.Unlock()
		if ip.IsValid() {
			a.transmit(data, dest, ip)
		}
		return
	case len(name.waiting) < maxUDPWaiting && a.names.bytes+len(data) <= maxUDPWaitingBytes:
		a.names.bytes += len(data)
		name.waiting = append(name.waiting, udpWaiting{dest, slices.Clone(data)})
	}
	a.mu.Unlock()
}

// lookUp resolves a name, and sends what has waited for it.
func (a *association) lookUp(name *udpName) {
	ctx, cancel := context.WithTimeout(a.ctx, a.ss.c.cfg.Connect)
	addrs, err := a.ss.c.cfg.Resolve(ctx, "ip", name.host)
	cancel()
	a.mu.Lock()
	a.names.lookUps--
	name.pending, name.until = false, time.Now().Add(udpNameTTL)
	if err == nil && len(addrs) > 0 { // else it is not asked for again for each datagram
		name.addr = addrs[0].Unmap()
	}
	waiting, ip := name.waiting, name.addr
	name.waiting = nil
	for _, w := range waiting {
		a.names.bytes -= len(w.data)
	}
	a.mu.Unlock()
	if !ip.IsValid() {
		return
	}
	for _, w := range waiting {
		a.transmit(w.data, w.dest, ip)
	}
}
