package proxy

import (
	"log/slog"
	"sync"
	"time"

	"github.com/socket-intents/mamma/socks"
)

// undecidedEvery is the least time between log messages about rules that could not be
// decided. Clients can cause such rules as often as they like.
const undecidedEvery = time.Minute

// undecided logs rules that depend on who asks when that cannot be found out. It is
// safe for concurrent use.
type undecided struct {
	log *slog.Logger

	mu    sync.Mutex
	told  time.Time
	count int // number since the last message
}

func newUndecided(log *slog.Logger) *undecided { return &undecided{log: log} }

func (u *undecided) note(r *socks.Request, rule string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	if now := time.Now(); u.told.IsZero() || now.Sub(u.told) >= undecidedEvery {
		u.log.Warn("it cannot be found out who asks, so a rule that allows lets nobody in and one that denies keeps the client out",
			"client", clientOf(r), "rule", rule, "times", u.count)
		u.told, u.count = now, 0
	}
}
