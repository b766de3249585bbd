package proxy

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// addrKindFor is how long the kernel's answer about an address is used. It is
	// short, because networks change.
	addrKindFor = time.Second
	// maxAddrKinds bounds the remembered addresses. At the bound all are forgotten.
	maxAddrKinds = 1024
)

// addrKinds remembers what kind of address the kernel takes addresses for. Asking takes
// a socket and half a dozen system calls, and the address of one connection is checked
// up to three times. Clients also often want what others wanted a moment ago. It is
// safe for concurrent use.
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
	s = seenKind{a.ask(ip), now} // the time is from before the question, so that changes during it count
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) >= maxAddrKinds {
		clear(a.seen)
	}
	a.seen[ip] = s
	return s.kind
}
