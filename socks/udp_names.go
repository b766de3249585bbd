package socks

import (
	"container/list"
	"context"
	"net/netip"
	"slices"
	"time"
)

const (
	// An association remembers the names that it used last, each for a while: asking
	// the resolver for each datagram would delay all of them.
	maxUDPNames = 64
	udpNameTTL  = 30 * time.Second

	// Datagrams for a name wait while the name is looked up. Datagrams beyond these
	// bounds are dropped, so that a client cannot take memory without end.
	maxUDPWaiting      = 16        // datagrams for one name
	maxUDPWaitingBytes = 128 << 10 // of all names together
	// maxUDPLookUps is how many names are looked up at the same time, each by a
	// goroutine of its own. Datagrams for further names are dropped.
	maxUDPLookUps = 16
)

// udpNames are the names that stood in an association's datagrams, with their
// addresses. The zero value is empty.
type udpNames struct {
	byHost  map[string]*list.Element // the elements hold a *udpName
	recent  list.List                // the same; the name used last is in front
	lookUps int                      // number under way
	bytes   int                      // data of all waiting datagrams
}

type udpName struct {
	host    string
	addr    netip.Addr // invalid: the name has no address
	until   time.Time  // end of the time for which addr holds
	pending bool       // the look-up is under way, and addr and until are not set
	waiting []udpWaiting
}

// udpWaiting is a datagram that waits until its name is looked up.
type udpWaiting struct {
	dest Addr
	data []byte
}

// use returns the entry of a name and notes that the name was used. It returns nil
// if the name has to be looked up.
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

// begin adds an entry for a name that the caller looks up next. It returns nil if
// too many look-ups are under way.
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

// byName sends data to a name: at once if the address is known, else after the
// look-up. Only fromClient's goroutine calls it.
func (a *association) byName(data []byte, dest Addr) {
	a.mu.Lock()
	name := a.names.use(dest.Host, time.Now())
	a.mu.Unlock()
	if rules, ok := a.ss.c.cfg.Rules.(NameRules); ok && name == nil && rules.AllowName(a.ctx, a.ss.Request, dest) != nil {
		return
	}
	a.mu.Lock()
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

// lookUp resolves a name, and sends the datagrams that waited for the address.
func (a *association) lookUp(name *udpName) {
	ctx, cancel := context.WithTimeout(a.ctx, a.ss.c.cfg.Connect)
	addrs, err := a.ss.c.cfg.Resolve(ctx, "ip", name.host)
	cancel()
	a.mu.Lock()
	a.names.lookUps--
	name.pending, name.until = false, time.Now().Add(udpNameTTL)
	// A failure is remembered too, so that not every datagram asks again.
	if err == nil && len(addrs) > 0 {
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
