package proxy

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

const (
	// A client that was asked for a name and had none is not asked for so long.
	namelessFor = time.Hour
	// So many are remembered, the rest is asked again.
	maxNameless = 1024
)

// nameless finds clients that offer a name and a password without having them. They
// fail, or ask their user, when the offer is taken. What they offer is the same as
// what clients with a name offer, so the program has to tell, where it may be looked
// at, and else what became of asking it before. It is safe for concurrent use.
type nameless struct {
	who func(*socks.Request) rules.Caller
	// offersBlindly tells of a process that it offers a name always, and has none for the
	// proxy at this address.
	offersBlindly func(pid int, proxy netip.AddrPort) bool
	log           *slog.Logger

	mu   sync.Mutex
	seen map[namelessKey]time.Time
}

// namelessKey is a client as far as it is known: by its address, on this host by its
// user and program.
type namelessKey struct {
	addr       netip.Addr
	uid        uint32
	executable string
}

func newNameless(log *slog.Logger, who func(*socks.Request) rules.Caller) *nameless {
	return &nameless{who: who, offersBlindly: offersBlindly, log: log, seen: map[namelessKey]time.Time{}}
}

// is is a socks.Config's Nameless.
func (n *nameless) is(r *socks.Request) bool {
	who := n.who(r)
	if who.PID != 0 && n.offersBlindly(who.PID, r.Listener) {
		return true
	}
	key, ok := n.key(r, who)
	if !ok {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	since, ok := n.seen[key]
	return ok && time.Since(since) < namelessFor
}

// note is told of a client that was asked for a name and did not give one.
func (n *nameless) note(r *socks.Request) {
	who := n.who(r)
	key, ok := n.key(r, who)
	if !ok {
		return
	}
	n.mu.Lock()
	if len(n.seen) >= maxNameless {
		clear(n.seen)
	}
	n.seen[key] = time.Now()
	n.mu.Unlock()
	n.log.Info("a client offers a name but has none; it is not asked for a while", "client", clientOf(r), "process", who.String(), "for", namelessFor)
}

// key is what a client is remembered by. Of a client on this host about which nothing
// is known there is nothing to remember: its address is everybody's.
func (n *nameless) key(r *socks.Request, who rules.Caller) (namelessKey, bool) {
	switch {
	case who.Elsewhere:
		return namelessKey{addr: r.Client.Addr()}, true
	case who.Known:
		return namelessKey{uid: who.UID, executable: who.Executable}, true
	}
	return namelessKey{}, false
}
