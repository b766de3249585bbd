package main

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// screen is what watch shows: a value that is fed with answers, events and keys
// and rendered as lines. It knows nothing of terminals.
type screen struct {
	a       *app
	status  *control.Status
	nets    []control.Prefix
	past    map[string]*histories // by prefix and interface
	lines   []entry               // oldest first
	trouble string                // why nothing new comes; "" if it does

	paused  bool
	filter  string
	typing  bool // the filter is being typed
	before  string
	detail  bool   // the chosen decision is explained
	seq     uint64 // of the chosen decision; 0: the latest that is shown
	leaving bool
	suspend bool
}

// entry is a line of the lower part, as it is at full length; decision is nil
// for other events.
type entry struct {
	text     string
	decision *control.Decision
}

// wideEnough is the width from which on decisions have their usual columns, the
// time that they took among them.
const wideEnough = 113

// fit is the line in at most width characters.
func (s *screen) fit(e *entry, width int) string {
	if e.decision == nil || width >= wideEnough {
		return cut(e.text, width)
	}
	return cut(s.a.line(e.decision).narrow(width), width)
}

const (
	// maxLines bounds the decisions that can be scrolled back to.
	maxLines = 500
	// historyLen is how many samples a sparkline can show, one a second.
	historyLen = 60
)

// histories are the last samples of a prefix; a negative one was unknown.
type histories struct{ rtt, down, up []float64 }

func push(list []float64, v *float64) []float64 {
	x := -1.0
	if v != nil {
		x = *v
	}
	if len(list) == historyLen {
		list = append(list[:0], list[1:]...)
	}
	return append(list, x)
}

func key(p *control.Prefix) string { return p.Prefix + "%" + p.Interface }

// update takes the answers of one second.
func (s *screen) update(st *control.Status, p *control.Prefixes) {
	s.trouble = ""
	past := map[string]*histories{}
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		h := s.past[key(x)]
		if h == nil {
			h = &histories{}
		}
		h.rtt, h.down, h.up = push(h.rtt, x.Path.SRTTMedianMS), push(h.down, x.Link.Down), push(h.up, x.Link.Up)
		past[key(x)] = h
	}
	s.past = past // histories of prefixes that are gone go as well
	if !s.paused {
		s.status, s.nets = st, p.Prefixes
	}
}

// add takes an event.
func (s *screen) add(e *control.Event) {
	if s.paused {
		return
	}
	if e.Type == control.EventOutcome && e.Decision != nil {
		for i := range s.lines {
			if d := s.lines[i].decision; d != nil && d.Seq == e.Decision.Seq {
				s.lines[i] = entry{s.a.line(e.Decision).String(), e.Decision}
			}
		}
		return
	}
	text := s.a.event(e)
	if text == "" {
		return
	}
	if len(s.lines) == maxLines {
		s.lines = append(s.lines[:0], s.lines[1:]...)
	}
	s.lines = append(s.lines, entry{text, e.Decision})
}

// visible are the lines that the filter lets pass.
func (s *screen) visible() []entry {
	if s.filter == "" {
		return s.lines
	}
	var out []entry
	for _, l := range s.lines {
		if strings.Contains(strings.ToLower(l.text), strings.ToLower(s.filter)) {
			out = append(out, l)
		}
	}
	return out
}

// chosen is the decision that keys refer to, nil if there is none.
func (s *screen) chosen() *control.Decision {
	list := s.visible()
	for _, l := range slices.Backward(list) {
		if l.decision != nil && (s.seq == 0 || l.decision.Seq == s.seq) {
			return l.decision
		}
	}
	return nil
}

// move chooses the decision before or after the chosen one.
func (s *screen) move(by int) {
	var seqs []uint64
	at := -1
	now := s.chosen()
	for _, l := range s.visible() {
		if l.decision == nil {
			continue
		}
		if now != nil && l.decision.Seq == now.Seq {
			at = len(seqs)
		}
		seqs = append(seqs, l.decision.Seq)
	}
	if len(seqs) == 0 {
		return
	}
	at = max(0, min(len(seqs)-1, at+by))
	s.seq = seqs[at]
	if at == len(seqs)-1 && !s.paused {
		s.seq = 0 // follow the latest again
	}
}

// Keys that are more than a character, as terminals send them.
const (
	keyUp, keyUpApp     = "\x1b[A", "\x1bOA"
	keyDown, keyDownApp = "\x1b[B", "\x1bOB"
	keyEscape           = "\x1b"
	keyInterrupt        = "\x03"
	keyEndOfFile        = "\x04"
	keySuspend          = "\x1a"
)

// press takes what was read from the keyboard at once.
func (s *screen) press(in string) {
	switch in {
	case keyUp, keyUpApp:
		s.move(-1)
		return
	case keyDown, keyDownApp:
		s.move(1)
		return
	case keyEscape:
		if s.typing {
			s.typing, s.filter = false, s.before
		} else {
			s.detail, s.seq = false, 0
		}
		return
	}
	if strings.HasPrefix(in, keyEscape) {
		return // some other function key
	}
	for _, r := range in {
		s.character(r)
	}
}

func (s *screen) character(r rune) {
	switch string(r) {
	case keyInterrupt, keyEndOfFile:
		s.leaving = true
		return
	case keySuspend:
		s.suspend = true
		return
	}
	if s.typing {
		switch {
		case r == '\r' || r == '\n':
			s.typing = false
		case r == 0x7f || r == '\b':
			_, n := utf8.DecodeLastRuneInString(s.filter)
			s.filter = s.filter[:len(s.filter)-n]
		case r >= ' ' && len(s.filter) < 64:
			s.filter += clean(string(r))
		}
		return
	}
	switch r {
	case 'q':
		s.leaving = true
	case 'p', ' ':
		s.paused = !s.paused
	case '/':
		s.typing, s.before, s.filter = true, s.filter, ""
	case '\r', '\n':
		s.detail = !s.detail
		if d := s.chosen(); d != nil && s.detail && s.seq == 0 {
			s.seq = d.Seq // stay with it while others come
		} else if !s.detail {
			s.seq = 0
		}
	case 'k':
		s.move(-1)
	case 'j':
		s.move(1)
	}
}
