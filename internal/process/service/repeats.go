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
	// A message is said so often in each period, with whatever details; what
	// comes in addition is counted. An operator who changes something sees each
	// line, and whoever makes a daemon complain fills no disk.
	repeatsSaid   = 20
	repeatsPeriod = time.Minute
	// So many messages are told apart. The programs have some hundred, whose texts
	// do not depend on anything; more are said without being counted.
	maxMessages = 1024
)

// repeats counts messages that are said again and again. At the end of a period it
// gives the last of those that were not said, with their number: what a message
// said last is what holds.
type repeats struct {
	say func(context.Context, slog.Record) error

	mu       sync.Mutex
	messages map[message]*repeated
	timer    *time.Timer
	running  bool // the timer
	turn     int  // of the latest line
}

// message is what makes two lines the same: their details change.
type message struct {
	level slog.Level
	text  string
}

type repeated struct {
	said int
	kept int // not said
	last slog.Record
	turn int // of last, by which the lines are told in order
}

func newRepeats(say func(context.Context, slog.Record) error) *repeats {
	return &repeats{say: say, messages: map[message]*repeated{}}
}

// take says r now, or counts it to be told of later.
func (p *repeats) take(ctx context.Context, r slog.Record) error {
	if !countable(r) || !p.count(r) {
		return p.say(ctx, r)
	}
	return nil
}

// countable tells whether r may be held back. What somebody wants to see at debug
// level is wanted whole, and so are the log of accesses and how a reload went, of
// which an operator has asked for each.
func countable(r slog.Record) bool {
	return r.Level > slog.LevelDebug && r.Message != AccessMessage && r.Message != reloaded && !strings.HasPrefix(r.Message, notReloaded)
}

// AccessMessage is the message of lines that are told of each request, where the
// operator has asked for them.
const AccessMessage = "request"

// count tells whether r was counted instead of being said.
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

// tell ends a period.
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

// stop tells what was counted, and counts no more.
func (p *repeats) stop() {
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.tell()
}
