package main

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// screen is the state of what watch shows. It takes the daemon's answers (update),
// events (add) and keys (press), and render turns it into lines. It knows nothing about
// terminals, so that tests need none.
type screen struct {
	a       *app
	status  *control.Status // nil until the first answer
	nets    []control.Prefix
	past    map[string]*histories // by key of the prefix
	lines   []entry               // decisions and other events, oldest first
	trouble string                // why no answers come; "" if they do

	paused  bool
	filter  string
	typing  bool   // the filter is being typed
	before  string // the filter to go back to if typing is cancelled
	detail  bool   // the chosen decision is explained
	seq     uint64 // Seq of the decision that the user chose; 0: none, the latest is meant
	leaving bool   // the user wants to quit
	suspend bool   // the user wants to stop the process for a while
}

// entry is a line of the lower part.
type entry struct {
	text     string            // at full length
	decision *control.Decision // nil if the line is about another event
}

// fit returns the text of e in at most width cells.
func (s *screen) fit(e *entry, width int) string {
	if e.decision == nil || width <= 0 {
		return table.Cut(e.text, width)
	}
	return s.a.line(e.decision).in(width)
}

const (
	// maxLines is how many lines the user can scroll back.
	maxLines = 500
	// historyLen is how many samples a sparkline can show, one a second.
	historyLen = 60
)

// histories are the last samples of a prefix, oldest first; a negative one means
// unknown.
type histories struct{ rtt, down, up []float64 }

// push appends a sample, unknown if nil, and drops the oldest where there are
// historyLen already.
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

// key tells prefixes apart: two interfaces may have the same one.
func key(p *control.Prefix) string { return p.Prefix + "%" + p.Interface }

// recall has the histories begin with what the daemon remembers.
func (s *screen) recall(h *control.History) {
	s.past = map[string]*histories{}
	for i := range h.Prefixes {
		p := &h.Prefixes[i]
		s.past[p.Prefix+"%"+p.Interface] = &histories{rtt: recent(p.RTT), down: recent(p.Down), up: recent(p.Up)}
	}
}

// recent are the last samples, as histories have them.
func recent(list []control.Sample) []float64 {
	var out []float64
	for _, x := range list[max(0, len(list)-historyLen):] {
		if !x.Known() {
			x = -1
		}
		out = append(out, float64(x))
	}
	return out
}

// update takes the answers of the daemon, which watch asks for each second. While
// paused, samples are kept and the screen stays as it is.
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
	s.past = past // histories of removed prefixes are dropped here
	if !s.paused {
		s.status, s.nets = st, p.Prefixes
	}
}

// add takes an event. An outcome changes the line of its decision; all other events
// add a line.
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
	text := s.a.event(e, 0)
	if text == "" {
		return
	}
	if len(s.lines) == maxLines {
		s.lines = append(s.lines[:0], s.lines[1:]...)
	}
	s.lines = append(s.lines, entry{text, e.Decision})
}

// visible returns the lines that contain the filter, in upper or lower case.
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

// chosen returns the decision that keys act on: the one that the user chose, else the
// latest visible one. It returns nil if there is none.
func (s *screen) chosen() *control.Decision {
	list := s.visible()
	for _, l := range slices.Backward(list) {
		if l.decision != nil && (s.seq == 0 || l.decision.Seq == s.seq) {
			return l.decision
		}
	}
	return nil
}

// move chooses the visible decision that stands by lines below the chosen one, above
// it if by is negative.
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
		s.seq = 0 // at the end of the list the screen follows the latest again
	}
}

// The keys that terminals send as an escape sequence or a control character. A cursor
// key has two sequences: the second is that of application mode.
const (
	keyUp, keyUpApp     = "\x1b[A", "\x1bOA"
	keyDown, keyDownApp = "\x1b[B", "\x1bOB"
	keyEscape           = "\x1b"
	keyInterrupt        = "\x03"
	keyEndOfFile        = "\x04"
	keySuspend          = "\x1a"
)

// press takes what one read from the keyboard returned: a sequence of one key, or
// characters.
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

// character takes one character: as part of the filter while that is typed, else as a
// command.
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
			s.seq = d.Seq // the explained decision stays while new ones come
		} else if !s.detail {
			s.seq = 0
		}
	case 'k':
		s.move(-1)
	case 'j':
		s.move(1)
	}
}
