package scopes

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/scopes/hook"
)

const (
	// maxOpen bounds the connections whose end is awaited. Beyond that, the oldest are
	// dropped, and nothing is learnt about them. Each takes some 250 bytes.
	maxOpen = 8192
	// maxEarly bounds the connections that have ended and are not known to have begun. Most
	// belong to programs of no scope. The rest are connections whose records come a little
	// late.
	maxEarly = 1024
	// maxEnded bounds the connections that have ended and wait for Run. Further ones
	// are dropped.
	maxEnded = 4096
)

// learning finds out how much connections of scopes carry. The kernel's records tell where a
// connection goes, and Ended tells how much it has carried. Both name its socket.
type learning struct {
	habits *habits.Learner
	open   *simplelru.LRU[uint64, opened] // by the cookie of the socket
	early  *simplelru.LRU[uint64, ended]  // likewise
	loaded bool                           // the file was read
}

// opened is a connection whose end is awaited.
type opened struct {
	key   hook.Key
	dest  habits.Dest
	begun time.Time
}

// ended is a connection that has ended.
type ended struct {
	cookie, bytes uint64
	at            time.Time
}

func newLearning() learning {
	open, _ := simplelru.NewLRU[uint64, opened](maxOpen, nil) // fails only for sizes below 1
	early, _ := simplelru.NewLRU[uint64, ended](maxEarly, nil)
	c := habits.Defaults()
	c.Hosts = maxAnswers
	return learning{habits: habits.New(c), open: open, early: early}
}

// Ended tells that a TCP connection of this host has ended. cookie is that of its socket
// (SO_COOKIE), bytes is how many bytes of data it has carried in both directions. The
// caller may also tell of connections that belong to no scope.
func (e *Engine) Ended(cookie, bytes uint64) {
	if !e.learns.Load() {
		return
	}
	e.mu.Lock()
	if len(e.ended) < maxEnded {
		e.ended = append(e.ended, ended{cookie, bytes, time.Now()})
	}
	e.mu.Unlock()
	e.wake()
}

// useLearning prepares to learn, if one of the scopes of a configuration does. Otherwise it
// forgets the connections that were awaited.
func (e *Engine) useLearning(scopes []config.Scope) {
	on := slices.ContainsFunc(scopes, func(s config.Scope) bool { return s.Learning })
	if e.learns.Store(on); !on {
		e.learning.open.Purge()
		e.learning.early.Purge()
		return
	}
	if e.learning.loaded || e.opts.Learnt == "" {
		return
	}
	e.learning.loaded = true
	if err := e.learning.habits.Load(e.opts.Learnt); err != nil {
		e.log.Warn("scopes start to learn anew", "err", err)
	}
}

// learns tells whether to learn how much connections carry. They must be TCP, of a scope
// that learns, and without a stated category.
func (s *scope) learns(k hook.Key) bool {
	if !s.Learning || k.Protocol != hook.TCP {
		return false
	}
	c, _ := s.statedFor(k.Variant)
	_, known := c.Set.Category()
	return !known
}

// dest is the destination of connections as it is remembered. Each scope remembers its own,
// because other programs may transfer other amounts, and so that no scope decides about the
// connections of another one.
func (s *scope) dest(k hook.Key) habits.Dest {
	return habits.Dest{Host: s.Name + " " + k.Remote.Addr().String(), Port: k.Remote.Port()}
}

// typical returns what connections like k were seen to carry.
func (e *Engine) typical(s *scope, k hook.Key) intent.Set {
	if !s.learns(k) {
		return intent.Set{}
	}
	return e.learning.habits.Typical(s.dest(k))
}

// await notes a connection, to learn from its end. If the end was told first, await learns
// at once.
func (e *Engine) await(s *scope, r *hook.Event) {
	// Of Multipath TCP only the first subflow is seen.
	if r.Kind != hook.Refuse && !r.Multipath && s.learns(r.Key) {
		e.learning.open.Add(r.Cookie, opened{r.Key, s.dest(r.Key), time.Now()})
		if x, ok := e.learning.early.Peek(r.Cookie); ok {
			e.learning.early.Remove(r.Cookie)
			e.learn([]ended{x})
		}
	}
}

// learn notes what connections have carried. If other intents are to be expected of a
// destination by that, learn asks for a new decision about it.
func (e *Engine) learn(list []ended) {
	for i := range list {
		o, ok := e.learning.open.Peek(list[i].cookie)
		if !ok {
			e.learning.early.Add(list[i].cookie, list[i])
			continue
		}
		e.learning.open.Remove(list[i].cookie)
		if list[i].bytes <= 1 {
			continue // it carried nothing; the peer's FIN may count as one byte
		}
		e.learning.habits.See(o.dest, int64(min(list[i].bytes, 1<<62)), max(0, list[i].at.Sub(o.begun)))
		s := e.scopeOf(o.key.Scope)
		own, ok := e.answers.own.Peek(o.key)
		if s != nil && ok && !similar(own.learnt, e.typical(s, o.key)) {
			e.askOwn(s, o.key, own.advice.Record.App)
		}
	}
}

// similar tells whether two sets of learnt intents have the same category, and sizes within
// a factor of two. Decisions by them will hardly differ.
func similar(a, b intent.Set) bool {
	ca, _ := a.Category()
	cb, _ := b.Category()
	na, sized := a.FileSize()
	nb, also := b.FileSize()
	return ca == cb && sized == also && na/2 <= nb && nb/2 <= na
}

// saveLearnt saves, from time to time, what was learnt, until ctx ends.
func (e *Engine) saveLearnt(ctx context.Context) {
	tick := time.NewTicker(habits.SaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.saveNow()
		}
	}
}

func (e *Engine) saveNow() {
	if e.opts.Learnt == "" {
		return
	}
	if err := e.learning.habits.Save(e.opts.Learnt); err != nil {
		e.log.Error("cannot save what scopes have learnt, so the next start does not know it; make the directory writable for mamma, or set state_dir", "file", e.opts.Learnt, "err", err)
	}
}
