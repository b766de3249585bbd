package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// render returns the screen as at most height lines of at most width characters
// each. The escape sequences of colours do not count as characters.
func (s *screen) render(width, height int) []string {
	colored := s.a.colored()
	paint := func(text, color string) string {
		if !colored || color == "" {
			return text
		}
		return color + text + reset
	}
	lines := []string{paint(table.Cut(s.title(width), width), bold)}
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

// title is the first line: version, policy, uptime, rate and delay of decisions, and
// the clock at the right edge.
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
	// Parts that do not fit beside the clock are left out. The last is the least
	// important.
	for ; len(parts) > 1; parts = parts[:len(parts)-1] {
		text := strings.Join(parts, "   ")
		if pad := width - table.Cells(text) - len(now); pad > 1 {
			return text + strings.Repeat(" ", pad) + now
		}
	}
	return parts[0]
}

// leastGraph is the least width at which a graph is worth its place. Where the graphs
// would be narrower, budgets are left out to make room.
const leastGraph = 4

// networks returns a heading and a line per prefix: figures, their graphs, number of
// connections, health and cost. Of more than n prefixes the last line tells how many
// are left out.
func (s *screen) networks(width, n int, paint func(text, color string) string) []string {
	heads := []string{"RTT ms", "down Mbit/s", "up Mbit/s"}
	figures := make([][]string, len(s.nets))
	label, number := len("prefix"), len("1000.0")
	for i := range s.nets {
		p := &s.nets[i]
		figures[i] = []string{msec(p.Path.SRTTMedianMS), mbps(p.Link.Down), mbps(p.Link.Up)}
		label = max(label, table.Cells(name(p)))
		for _, f := range figures[i] {
			number = max(number, len(f))
		}
	}
	label = min(label, width/3)
	r := s.row(width, label, number)
	column := max(number+1+r.graph, len(heads[1]))
	line := blanks(label)
	for _, h := range heads[:r.figures] {
		line += fmt.Sprintf(" %-*s", column, h)
	}
	if r.connections {
		line += "  conns"
	}
	lines := []string{table.Cut(strings.TrimRight(line, " "), width)}
	for i := range s.nets {
		if len(lines) > n && i < len(s.nets)-1 {
			lines = append(lines, table.Cut(fmt.Sprintf("and %d more", len(s.nets)-i), width))
			break
		}
		p := &s.nets[i]
		h := s.past[key(p)]
		if h == nil {
			h = &histories{}
		}
		text := table.Pad(table.Cut(name(p), label), label)
		for j, values := range [][]float64{h.rtt, h.down, h.up}[:r.figures] {
			text += fmt.Sprintf(" %*s %s%*s", number, figures[i][j], spark(values, r.graph, j == 0), column-number-1-r.graph, "")
		}
		if r.connections {
			text += fmt.Sprintf(" %6s", count(p.Path.Connections))
		}
		text += "  "
		room := width - table.Cells(text)
		lines = append(lines, table.Cut(text, width)+paint(table.Cut(r.tell(p), room), healthColor(p.Health.State)))
	}
	if len(s.nets) == 0 {
		lines = append(lines, table.Cut("mamma manages no prefix", width))
	}
	return lines
}

// row is what there is room for in the line of a network.
type row struct {
	figures     int // round-trip time, rate down, rate up: so many of them
	graph       int // width of each one's graph
	connections bool
	tell        func(*control.Prefix) string // the state
}

// row returns what is shown beside a label and figures of that many cells, in lines of
// width cells. Health is more important than rates: it stays.
func (s *screen) row(width, label, number int) row {
	r := row{figures: 3, connections: true, tell: state}
	room := func() int { // for graphs
		tail := 0
		for i := range s.nets {
			tail = max(tail, table.Cells(r.tell(&s.nets[i])))
		}
		if r.connections {
			tail += 1 + 6
		}
		return width - label - r.figures*(1+number+1) - 2 - tail
	}
	if room()/3 < leastGraph {
		r.tell = briefly
	}
	least := func() int { return r.figures * (len("down Mbit/s") - number - 1) } // headings are wider than figures
	for room() < least() && (r.figures > 1 || r.connections) {
		if r.figures > 1 {
			r.figures--
		} else {
			r.connections = false
		}
	}
	r.graph = max(0, min(12, room()/r.figures))
	return r
}

func blanks(n int) string { return strings.Repeat(" ", max(n, 0)) }

func name(p *control.Prefix) string {
	text := clean(p.Interface + " " + p.Prefix)
	if p.Name != nil {
		text = clean(*p.Name) + " " + text
	}
	return text
}

// briefly returns health and cost of a prefix; a cost of free is not worth a word.
func briefly(p *control.Prefix) string {
	text := clean(p.Health.State)
	if p.Cost != "free" && p.Cost != "" {
		text += "  " + clean(p.Cost)
	}
	return text
}

// state returns health, cost and how much of the budget is used.
func state(p *control.Prefix) string {
	if p.Budget == nil {
		return briefly(p)
	}
	return briefly(p) + " " + used(p.Budget)
}

var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the last n values, a character each; unknown ones are blank. The scale
// of rates reaches from 0 to the highest value. Round-trip times never come near 0:
// their scale begins at half the least value and ends at the highest, but not below
// twice the least. A steady round-trip time is thus a low line.
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

// events returns n lines that the filter lets pass: the last ones, or those around the
// chosen decision if the user has chosen one.
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
			text, color = table.Cut("> "+s.fit(&e, width-2), width), bold
		}
		lines = append(lines, paint(text, color))
	}
	switch {
	case len(list) > 0:
	case s.filter != "":
		lines = append(lines, paint(table.Cut("no line contains the filter", width), dim))
	default:
		lines = append(lines, paint(table.Cut("no decisions yet", width), dim))
	}
	return lines
}

// details explains the chosen decision as the command explain does, below a rule.
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
	_ = s.a.showExplanation(&b, &e, width) // writing to a Builder does not fail
	lines := []string{strings.Repeat("-", width)}
	for l := range strings.Lines(b.String()) {
		if l = strings.TrimRight(l, "\n"); l != "" {
			lines = append(lines, table.Cut(l, width))
		}
	}
	return lines
}

// bottom is the last line: the filter that is being typed, else why nothing new comes,
// else the keys.
func (s *screen) bottom(width int) string {
	switch {
	case s.typing:
		return table.Cut("filter: "+s.filter+"_   (enter to apply, escape to cancel)", width)
	case s.trouble != "":
		return table.Cut(s.trouble, width)
	}
	text := "q quit   p pause   / filter   enter explain   up/down choose"
	if s.paused {
		text = strings.Replace(text, "p pause", "p go on", 1)
	}
	if s.filter != "" {
		text += "   [" + s.filter + "]"
	}
	return table.Cut(text, width)
}
