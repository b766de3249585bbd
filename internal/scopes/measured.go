package scopes

import (
	"sync"

	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// measured is where the kernel measures connections.
type measured struct {
	mu    sync.Mutex
	table *hook.Table // nil: it does not
}

func (m *measured) set(t *hook.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = t
}

// Flows calls visit for each TCP connection that the kernel measures. The Flow is valid during
// the call only. Flows returns false if the kernel measures none. It then may have called visit.
// Flows is safe for concurrent use.
func (e *Engine) Flows(visit func(*hook.Flow)) bool {
	e.measured.mu.Lock()
	defer e.measured.mu.Unlock()
	return e.measured.table != nil && e.measured.table.Flows(visit) == nil
}
