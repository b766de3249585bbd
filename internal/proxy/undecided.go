package proxy

import (
	"log/slog"
	"sync"
	"time"

	"github.com/socket-intents/mamma/socks"
)

// undecidedEvery is how often an operator is told of rules that could not be
// decided: clients can make that happen as often as they like.
const undecidedEvery = time.Minute

// undecided tells of rules that depend on who asks, where that cannot be found
// out. It is safe for concurrent use.
type undecided struct {
	log *slog.Logger

	mu    sync.Mutex
	told  time.Time
	count int // since then
}

func newUndecided(log *slog.Logger) *undecided { return &undecided{log: log} }

func (u *undecided) note(r *socks.Request, rule string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	if now := time.Now(); u.told.IsZero() || now.Sub(u.told) >= undecidedEvery {
		u.log.Warn("who asks cannot be found out, so a rule that allows lets nobody in and one that denies keeps out",
			"client", clientOf(r), "rule", rule, "times", u.count)
		u.told, u.count = now, 0
	}
}
