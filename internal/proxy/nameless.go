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
	// namelessFor is how long a client that had no name is not asked again.
	namelessFor = time.Hour
	// maxNameless bounds the remembered clients. Others are asked again.
	maxNameless = 1024
)

// nameless finds clients that offer a name and a password although they have none. If
// the proxy accepts their offer, they fail or ask their user. Their offer looks the
// same as that of clients with a name. So nameless looks at the client's program, if
// that is possible. Otherwise it goes by the result of the last time that the client
// was asked. It is safe for concurrent use.
type nameless struct {
	who func(*socks.Request) rules.Caller
	// offersBlindly tells whether a process offers a name in any case, and has none for
	// the proxy at this address.
	offersBlindly func(pid int, proxy netip.AddrPort) bool
	log           *slog.Logger

	mu   sync.Mutex
	seen map[namelessKey]time.Time
}

// namelessKey identifies a client: by its address or, on this host, by user and
// program.
type namelessKey struct {
	addr       netip.Addr
	uid        uint32
	executable string
}

func newNameless(log *slog.Logger, who func(*socks.Request) rules.Caller) *nameless {
	return &nameless{who: who, offersBlindly: offersBlindly, log: log, seen: map[namelessKey]time.Time{}}
}

// is implements Nameless of a socks.Config.
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

// note remembers a client that was asked for a name and gave none.
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

// key returns what identifies a client. ok is false for a client on this host about
// which nothing is known, because all users share its address.
func (n *nameless) key(r *socks.Request, who rules.Caller) (namelessKey, bool) {
	switch {
	case who.Elsewhere:
		return namelessKey{addr: r.Client.Addr()}, true
	case who.Known:
		return namelessKey{uid: who.UID, executable: who.Executable}, true
	}
	return namelessKey{}, false
}
