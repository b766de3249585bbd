package proxy

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/socket-intents/mamma/socks"
)

const (
	// maxMistakes bounds the distinct mistakes that are logged; others are only
	// counted. Clients choose the texts, and must not fill the log.
	maxMistakes = 64
	// maxMistakeText is how many bytes of a text are logged.
	maxMistakeText = 100
)

// mistakes logs intents that cannot be read, each text once. It is safe for concurrent
// use.
type mistakes struct {
	log     *slog.Logger
	counter prometheus.Counter

	mu   sync.Mutex
	told map[string]struct{}
}

func newMistakes(log *slog.Logger, counter prometheus.Counter) *mistakes {
	return &mistakes{log: log, counter: counter, told: map[string]struct{}{}}
}

func (ms *mistakes) note(r *socks.Request, m *mistake) {
	ms.counter.Inc()
	text := m.text
	if len(text) > maxMistakeText {
		text = text[:maxMistakeText] + "..."
	}
	if !ms.isNew(text) {
		return
	}
	ms.log.Warn("a client states intents that make no sense; they are ignored", "client", r.Client.String(), "dest", r.Dest.String(), "intents", text, "err", shorten(m.err))
}

func shorten(err error) string {
	text := err.Error()
	if len(text) > 2*maxMistakeText {
		text = text[:2*maxMistakeText] + "..."
	}
	return text
}

func (ms *mistakes) isNew(text string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if _, ok := ms.told[text]; ok || len(ms.told) >= maxMistakes {
		return false
	}
	ms.told[text] = struct{}{}
	if len(ms.told) == maxMistakes {
		ms.log.Warn("clients state many intents that make no sense; further ones are only counted", "metric", metricMistakes)
	}
	return true
}
