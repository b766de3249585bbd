package service

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// A message is logged repeatsSaid times in a repeatsPeriod, whatever its details
	// are. Further ones are counted. An operator who tries something out sees every
	// line, but nobody can fill a disk by making a daemon complain.
	repeatsSaid   = 20
	repeatsPeriod = time.Minute
	// maxMessages bounds the memory for different messages. The programs have a few
	// hundred messages with fixed texts. Messages beyond the bound are logged without
	// being counted.
	maxMessages = 1024
)

// repeats counts messages that are repeated. At the end of a period it logs, for each
// message, the last line that was held back, with the number of such lines. The last
// line tells how things are now.
type repeats struct {
	say func(context.Context, slog.Record) error

	mu       sync.Mutex
	messages map[message]*repeated
	timer    *time.Timer
	running  bool // the timer
	turn     int  // number of the latest line that was held back
}

// message is what two lines must have in common to count as repeated. Their details may
// differ.
type message struct {
	level slog.Level
	text  string
}

type repeated struct {
	said int
	kept int // number of lines held back
	last slog.Record
	turn int // number of the line last; tell logs the lines in this order
}

func newRepeats(say func(context.Context, slog.Record) error) *repeats {
	return &repeats{say: say, messages: map[message]*repeated{}}
}

// take logs r now, or counts it, to be logged later.
func (p *repeats) take(ctx context.Context, r slog.Record) error {
	if !countable(r) || !p.count(r) {
		return p.say(ctx, r)
	}
	return nil
}

// countable tells whether r may be held back. Messages at debug level, of the access log
// and about reloads may not: an operator has asked for every one of them.
func countable(r slog.Record) bool {
	return r.Level > slog.LevelDebug && r.Message != AccessMessage && r.Message != reloaded && !strings.HasPrefix(r.Message, notReloaded)
}

// AccessMessage is the message of the lines that are logged for each request, if the
// operator has asked for them.
const AccessMessage = "request"

// count tells whether r was counted instead of logged.
func (p *repeats) count(r slog.Record) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := message{r.Level, r.Message}
	m := p.messages[key]
	if m == nil {
		if len(p.messages) >= maxMessages {
			return false
		}
		m = &repeated{}
		p.messages[key] = m
	}
	if !p.running {
		p.running = true
		if p.timer == nil {
			p.timer = time.AfterFunc(repeatsPeriod, p.tell)
		} else {
			p.timer.Reset(repeatsPeriod)
		}
	}
	if m.said < repeatsSaid {
		m.said++
		return false
	}
	m.kept++
	p.turn++
	m.turn = p.turn
	m.last = r.Clone()
	return true
}

// tell ends a period: it logs what was held back.
func (p *repeats) tell() {
	p.mu.Lock()
	var kept []repeated
	for key, m := range p.messages {
		if m.kept > 0 {
			kept = append(kept, *m)
		}
		delete(p.messages, key)
	}
	p.running = false
	p.mu.Unlock()
	slices.SortFunc(kept, func(a, b repeated) int { return a.turn - b.turn })
	for _, m := range kept {
		r := m.last
		r.AddAttrs(slog.Int("repeated", m.kept))
		_ = p.say(context.Background(), r)
	}
}

// stop ends the period early, so that what was held back is logged before the program
// ends.
func (p *repeats) stop() {
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.tell()
}
