package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/socket-intents/mamma/internal/control"
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
const wideEnough = 108

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

// render gives at most height lines of at most width characters. Colours do not
// count as characters.
func (s *screen) render(width, height int) []string {
	colored := s.a.colored()
	paint := func(text, color string) string {
		if !colored || color == "" {
			return text
		}
		return color + text + reset
	}
	lines := []string{paint(cut(s.title(width), width), bold)}
	lines = append(lines, s.networks(width, max(1, height/2-4), paint)...)
	lines = append(lines, strings.Repeat("-", width))
	var lower []string
	if s.detail {
		lower = s.details(width)
	}
	room := height - len(lines) - 1
	if n := room * 2 / 3; len(lower) > n {
		lower = lower[:max(n, 0)]
	}
	lines = append(lines, s.events(width, room-len(lower), paint)...)
	for len(lines) < height-1-len(lower) {
		lines = append(lines, "")
	}
	lines = append(lines, lower...)
	lines = append(lines, s.bottom(width))
	return lines[:min(len(lines), max(height, 0))]
}

func (s *screen) title(width int) string {
	st := s.status
	if st == nil {
		return "mamma"
	}
	policyName := orUnknown(st.Policy.Name)
	if !st.Policy.InService {
		policyName += " (out of service)"
	}
	parts := []string{
		"mamma " + clean(st.Version), policyName, "up " + long(st.UptimeMS),
		group(uint64(st.Decisions.PerMinute+0.5)) + " decisions/min",
	}
	if p99 := st.Decisions.TookP99MS; p99 != nil {
		parts = append(parts, "p99 "+took(*p99))
	}
	now := st.Now.In(s.a.location).Format("15:04:05")
	if s.paused {
		now = "paused " + now
	}
	// What does not fit beside the clock is left out, the least important first.
	for ; len(parts) > 1; parts = parts[:len(parts)-1] {
		text := strings.Join(parts, "   ")
		if pad := width - utf8.RuneCountInString(text) - len(now); pad > 1 {
			return text + strings.Repeat(" ", pad) + now
		}
	}
	return parts[0]
}

// leastGraph is the least width of a graph that tells anything; for it, budgets
// are left out.
const leastGraph = 4

// networks is a heading and a line per prefix, at most n of them.
func (s *screen) networks(width, n int, paint func(text, color string) string) []string {
	heads := []string{"RTT ms", "down Mbit/s", "up Mbit/s"}
	figures := make([][]string, len(s.nets))
	label, number := len("prefix"), len("1000.0")
	for i := range s.nets {
		p := &s.nets[i]
		figures[i] = []string{msec(p.Path.SRTTMedianMS), mbps(p.Link.Down), mbps(p.Link.Up)}
		label = max(label, len(name(p)))
		for _, f := range figures[i] {
			number = max(number, len(f))
		}
	}
	label = min(label, width/3)
	tell := state
	graph := s.graph(width, label, number, tell)
	if graph < leastGraph {
		tell = briefly
		graph = s.graph(width, label, number, tell)
	}
	column := max(number+1+graph, len("down Mbit/s"))
	line := fmt.Sprintf("%-*s", label, "")
	for _, h := range heads {
		line += fmt.Sprintf(" %-*s", column, h)
	}
	lines := []string{cut(line+"  conns", width)}
	for i := range s.nets {
		if len(lines) > n && i < len(s.nets)-1 {
			lines = append(lines, cut(fmt.Sprintf("and %d more", len(s.nets)-i), width))
			break
		}
		p := &s.nets[i]
		h := s.past[key(p)]
		if h == nil {
			h = &histories{}
		}
		text := fmt.Sprintf("%-*s", label, cut(name(p), label))
		for j, values := range [][]float64{h.rtt, h.down, h.up} {
			text += fmt.Sprintf(" %*s %s%*s", number, figures[i][j], spark(values, graph, j == 0), column-number-1-graph, "")
		}
		text += fmt.Sprintf(" %6s  ", count(p.Path.Connections))
		room := width - utf8.RuneCountInString(text)
		lines = append(lines, cut(text, width)+paint(cut(tell(p), room), healthColor(p.Health.State)))
	}
	if len(s.nets) == 0 {
		lines = append(lines, cut("mamma manages no prefix", width))
	}
	return lines
}

// graph is the width that is left for each of the three graphs beside figures of
// so many characters, the connections and what tell says.
func (s *screen) graph(width, label, number int, tell func(*control.Prefix) string) int {
	tail := 0
	for i := range s.nets {
		tail = max(tail, len(tell(&s.nets[i])))
	}
	return max(0, min(12, (width-label-3*(1+number+1)-1-6-2-tail)/3))
}

func name(p *control.Prefix) string { return clean(p.Interface + " " + p.Prefix) }

// briefly is health and, unless it is free, cost.
func briefly(p *control.Prefix) string {
	text := clean(p.Health.State)
	if p.Cost != "free" && p.Cost != "" {
		text += "  " + clean(p.Cost)
	}
	return text
}

// state is briefly, with what is used of the budget.
func state(p *control.Prefix) string {
	if p.Budget == nil {
		return briefly(p)
	}
	return briefly(p) + " " + used(p.Budget)
}

var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the last n values, and blanks where nothing is known. Rates are
// drawn from 0 to the highest. Round-trip times never come near 0: they are drawn
// from half the least to twice the least or the highest, so that an even one is a low line.
func spark(values []float64, n int, rtt bool) string {
	if len(values) > n {
		values = values[len(values)-n:]
	}
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if v >= 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if rtt {
		low, high = low/2, max(high, 2*low)
	} else {
		low = 0
	}
	out := []rune(strings.Repeat(" ", n-len(values)))
	for _, v := range values {
		switch {
		case v < 0:
			out = append(out, ' ')
		case high <= low:
			out = append(out, bars[0])
		default:
			out = append(out, bars[min(len(bars)-1, int((v-low)/(high-low)*float64(len(bars)-1)+0.5))])
		}
	}
	return string(out)
}

// events are the last n lines that the filter lets pass, or those around the
// chosen one.
func (s *screen) events(width, n int, paint func(text, color string) string) []string {
	if n <= 0 {
		return nil
	}
	list := s.visible()
	end := len(list)
	chosen := s.chosen()
	if s.seq != 0 && chosen != nil {
		at := slices.IndexFunc(list, func(e entry) bool { return e.decision != nil && e.decision.Seq == chosen.Seq })
		end = min(len(list), max(at+1+n/3, n))
	}
	list = list[max(0, end-n):end]
	var lines []string
	for _, e := range list {
		text, color := s.fit(&e, width), ""
		if s.seq != 0 && chosen != nil && e.decision != nil && e.decision.Seq == chosen.Seq {
			text, color = cut("> "+s.fit(&e, width-2), width), bold
		}
		lines = append(lines, paint(text, color))
	}
	switch {
	case len(list) > 0:
	case s.filter != "":
		lines = append(lines, paint(cut("no line contains the filter", width), dim))
	default:
		lines = append(lines, paint(cut("no decisions yet", width), dim))
	}
	return lines
}

// details explains the chosen decision.
func (s *screen) details(width int) []string {
	d := s.chosen()
	if d == nil {
		return nil
	}
	e := control.Explanation{Decision: *d}
	for _, sc := range d.Scores {
		e.Candidates = append(e.Candidates, control.Prefix{Prefix: sc.Prefix, Interface: sc.Interface})
	}
	var b strings.Builder
	_ = s.a.showExplanation(&b, &e) // a Builder takes everything
	lines := []string{strings.Repeat("-", width)}
	for l := range strings.Lines(b.String()) {
		if l = strings.TrimRight(l, "\n"); l != "" {
			lines = append(lines, cut(l, width))
		}
	}
	return lines
}

func (s *screen) bottom(width int) string {
	switch {
	case s.typing:
		return cut("filter: "+s.filter+"_   (enter to apply, escape to cancel)", width)
	case s.trouble != "":
		return cut(s.trouble, width)
	}
	text := "q quit   p pause   / filter   enter explain   up/down choose"
	if s.paused {
		text = strings.Replace(text, "p pause", "p go on", 1)
	}
	if s.filter != "" {
		text += "   [" + s.filter + "]"
	}
	return cut(text, width)
}
