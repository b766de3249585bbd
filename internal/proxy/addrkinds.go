package proxy

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// What the kernel took an address for counts for so long: networks may change.
	addrKindFor = time.Second
	// So many addresses are remembered; then all are asked about again.
	maxAddrKinds = 1024
)

// addrKinds remembers what the kernel took addresses for. To ask it takes a socket and
// half a dozen system calls, a connection's address is checked up to three times, and
// clients often want what others wanted a moment ago. It is safe for concurrent use.
type addrKinds struct {
	ask func(netip.Addr) addrKind

	mu   sync.Mutex
	seen map[netip.Addr]seenKind
}

type seenKind struct {
	kind addrKind
	at   time.Time // when the kernel was asked
}

func newAddrKinds(ask func(netip.Addr) addrKind) *addrKinds {
	return &addrKinds{ask: ask, seen: map[netip.Addr]seenKind{}}
}

func (a *addrKinds) of(ip netip.Addr) addrKind {
	now := time.Now()
	a.mu.Lock()
	s, ok := a.seen[ip]
	a.mu.Unlock()
	if ok && now.Sub(s.at) < addrKindFor {
		return s.kind
	}
	s = seenKind{a.ask(ip), now} // before it was asked: what changes meanwhile counts
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) >= maxAddrKinds {
		clear(a.seen)
	}
	a.seen[ip] = s
	return s.kind
}
