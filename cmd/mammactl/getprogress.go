package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/display/terminal"
)

const (
	// drawEvery is the time between two drawings of the progress.
	drawEvery = 200 * time.Millisecond
	// rateSpan is the time over which the shown total rate is averaged.
	rateSpan = 3 * time.Second
	maxBar   = 30
)

// progress shows how far one response has come.
type progress struct {
	g        *getting
	resp     *http.Response
	total    int64 // complete length; -1: unknown
	kept     int64 // bytes that were there before
	count    func() int64
	recent   []moment
	lines    int // drawn on the screen
	terminal int // its file descriptor; -1: none
}

// moment is an amount received at a time.
type moment struct {
	at    time.Time
	bytes int64
}

func (g *getting) newProgress(resp *http.Response, kept int64) *progress {
	p := &progress{g: g, resp: resp, total: resp.ContentLength, kept: kept, count: func() int64 { return 0 }, terminal: -1}
	split, ok := httpintent.ProgressOf(resp)
	switch {
	case ok:
		p.total = split.Size
	case resp.StatusCode == http.StatusPartialContent && resp.ContentLength >= 0:
		var from, to int64
		if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &p.total); n != 3 {
			p.total = -1
		}
	}
	return p
}

// size returns the complete length; -1 if unknown.
func (p *progress) size() int64 { return p.total }

// received returns the number of bytes that are there.
func (p *progress) received() int64 {
	if split, ok := httpintent.ProgressOf(p.resp); ok {
		return split.Received + p.before()
	}
	return p.kept + p.count()
}

// before returns the number of bytes before those in a split response.
func (p *progress) before() int64 {
	if p.kept == 0 {
		return 0
	}
	return max(0, p.total-p.resp.ContentLength)
}

// ranges returns the ranges that are there, with those that were there before. An unsplit
// response began at offset, and written bytes of it have been written.
func (p *progress) ranges(offset, written int64, before []httpintent.Range) (list []httpintent.Range) {
	add := func(r httpintent.Range) {
		if n := len(list); n > 0 && list[n-1].To >= r.From {
			list[n-1].To = max(list[n-1].To, r.To)
		} else if r.From < r.To {
			list = append(list, r)
		}
	}
	split, ok := httpintent.ProgressOf(p.resp)
	all := append(slices.Clone(before), split.Ranges...)
	all = append(all, httpintent.Range{From: 0, To: offset})
	if !ok {
		all = append(all, httpintent.Range{From: offset, To: offset + written})
	}
	slices.SortFunc(all, func(a, b httpintent.Range) int { return cmp.Compare(a.From, b.From) })
	for _, r := range all {
		add(r)
	}
	return list
}

// waiting tells on a terminal that the server has not answered yet, until answered is called.
func (g *getting) waiting() (answered func()) {
	if g.quiet {
		return func() {}
	}
	host := clean(g.url.Host)
	return g.app.status(func(d time.Duration) string { return fmt.Sprintf("waiting for %s, %.0f s", host, d.Seconds()) }).Stop
}

// show draws the progress on a terminal until stop is called. count returns the number
// of bytes taken.
func (p *progress) show(count func() int64) (stop func()) {
	p.count = count
	fd, tty := terminal.Of(p.g.app.err)
	if !tty || p.g.quiet || p.g.app.getenv("TERM") == "dumb" {
		return func() {}
	}
	p.terminal = fd
	p.recent = []moment{{time.Now(), p.received()}}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(drawEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				p.draw(now)
			case <-end:
				p.draw(time.Now())
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// draw replaces the previous drawing.
func (p *progress) draw(now time.Time) {
	width, _ := terminal.Size(p.terminal)
	split, _ := httpintent.ProgressOf(p.resp)
	lines := p.text(now, split.Networks, width)
	var b strings.Builder
	b.WriteString(strings.Repeat(cursorUp, p.lines))
	for _, l := range lines {
		b.WriteString(eraseLine + l + "\n")
	}
	for i := len(lines); i < p.lines; i++ {
		b.WriteString(eraseLine + "\n")
	}
	p.lines = max(p.lines, len(lines))
	_, _ = io.WriteString(p.g.app.err, b.String())
}

// text returns the lines to draw: one for the file, and one for each network. Lines are
// one column shorter than the terminal, because a full line may wrap.
func (p *progress) text(now time.Time, networks []httpintent.NetworkProgress, width int) []string {
	got := p.received()
	rate := p.rate(now, got)
	name := clean(p.g.output)
	if name == "-" {
		name = "(standard output)"
	}
	amount, speed, left := "  "+byteSize(got), "  "+mbps(&rate)+" Mbit/s", ""
	if p.total > got && rate > 0 {
		left = "  " + ago(1000*float64(p.total-got)/rate) + " left"
	}
	tails := []string{amount + speed, amount}
	if p.total > 0 {
		part := fmt.Sprintf("  %3.0f %%", 100*float64(got)/float64(p.total))
		tails = []string{part + amount + " of " + byteSize(p.total) + speed + left, part + speed + left, part + left, part}
	}
	lines := []string{head(name, tails, width-1)}
	longest, most := 0, 1.0
	for _, n := range networks {
		longest = max(longest, table.Cells(clean(n.Name)))
		most = max(most, n.Rate)
	}
	for _, n := range networks {
		label := clean(n.Name)
		l := fmt.Sprintf("  %s  %8s  %6s Mbit/s  ", table.Pad(label, longest), byteSize(n.Bytes), mbps(&n.Rate))
		switch {
		case n.Ended:
			l += "not used any more"
		case n.Failures > 0:
			l += "failed, is tried again"
		default:
			room := min(maxBar, width-1-table.Cells(l))
			l += strings.Repeat("█", max(0, int(n.Rate/most*float64(room)+0.5)))
		}
		lines = append(lines, table.Cut(strings.TrimRight(l, " "), width-1))
	}
	return lines
}

// leastName is the width that is left for the name of a file, so that it can be recognised.
const leastName = 12

// head returns the name with the first of the tails that leaves room for it, or with the
// last. A name that is too long loses its folders first.
func head(name string, tails []string, width int) string {
	tail := tails[len(tails)-1]
	for _, t := range tails {
		if table.Cells(t)+min(leastName, table.Cells(name)) <= width {
			tail = t
			break
		}
	}
	room := width - table.Cells(tail)
	if table.Cells(name) > room {
		name = filepath.Base(name)
	}
	return table.Cut(table.Cut(name, max(1, room))+tail, width)
}

// rate returns the mean rate of the last seconds, in bytes per second.
func (p *progress) rate(now time.Time, got int64) float64 {
	p.recent = append(p.recent, moment{now, got})
	for len(p.recent) > 2 && now.Sub(p.recent[0].at) > rateSpan {
		p.recent = p.recent[1:]
	}
	first := p.recent[0]
	if span := now.Sub(first.at).Seconds(); span > 0 {
		return float64(got-first.bytes) / span
	}
	return 0
}

// summary returns one line about a complete file.
func (p *progress) summary(took time.Duration) string {
	fetched := p.received() - p.kept
	rate := float64(fetched) / max(took.Seconds(), 1e-3)
	text := fmt.Sprintf("%s: %s in %s, %s Mbit/s", clean(p.g.output), byteSize(p.received()), span(1000*took.Seconds()), mbps(&rate))
	if p.kept > 0 {
		text = fmt.Sprintf("%s: %s, of which %s were there; the rest in %s, %s Mbit/s", clean(p.g.output), byteSize(p.received()), byteSize(p.kept), span(1000*took.Seconds()), mbps(&rate))
	}
	split, _ := httpintent.ProgressOf(p.resp)
	var parts []string
	for _, n := range split.Networks {
		parts = append(parts, clean(n.Name)+" "+byteSize(n.Bytes))
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	if p.g.check != nil {
		text += "; the digest is right"
	}
	return text
}

// gotten is the output of --json.
type gotten struct {
	URL            string          `json:"url"` // after redirections
	File           string          `json:"file"`
	Size           int64           `json:"size"`
	Fetched        int64           `json:"fetched"` // bytes, without those that were there before
	Seconds        float64         `json:"seconds"`
	BytesPerSecond float64         `json:"bytes_per_second"`
	Protocol       string          `json:"protocol"`
	Validator      *string         `json:"validator"` // null: none that is strong
	Digest         *gottenDigest   `json:"digest"`    // the verified digest; null: none was given
	Manager        bool            `json:"manager"`   // a mamma answers
	Split          bool            `json:"split"`
	Networks       []gottenNetwork `json:"networks"` // null: not split
}

type gottenDigest struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"` // hexadecimal
	Source    string `json:"source"`
}

type gottenNetwork struct {
	Name   string  `json:"name"`
	Source *string `json:"source"`
	Cost   string  `json:"cost"`
	Bytes  int64   `json:"bytes"` // including those that another network brought, too
	Ended  bool    `json:"ended"` // it was no longer used at the end
	Error  *string `json:"error"` // the latest failure
}

func (g *getting) result(p *progress, resp *http.Response, took time.Duration) gotten {
	split, ok := httpintent.ProgressOf(resp)
	r := gotten{
		URL: resp.Request.URL.Redacted(), File: g.output, Size: p.received(), Fetched: p.received() - p.kept, Seconds: took.Seconds(),
		Protocol: resp.Proto, Manager: g.manager, Split: ok,
	}
	r.BytesPerSecond = float64(r.Fetched) / max(r.Seconds, 1e-3)
	if v := httpintent.Validator(resp.Header); v != "" {
		r.Validator = &v
	}
	if d := g.check; d != nil {
		r.Digest = &gottenDigest{d.algorithm, fmt.Sprintf("%x", d.want), d.source}
	}
	for _, n := range split.Networks {
		out := gottenNetwork{Name: n.Name, Cost: n.Cost.String(), Bytes: n.Bytes, Ended: n.Ended}
		if n.Source.IsValid() {
			s := n.Source.String()
			out.Source = &s
		}
		if n.Err != nil {
			s := n.Err.Error()
			out.Error = &s
		}
		r.Networks = append(r.Networks, out)
	}
	return r
}

// properties converts the selection for the client library.
func (s selection) properties() (p client.SelectionProperties) {
	wants := map[string]client.Preference{"require": client.Require, "prefer": client.Prefer, "avoid": client.Avoid, "prohibit": client.Prohibit}
	for _, x := range s {
		switch want := wants[x.Want]; x.Kind {
		case "interface":
			p = p.WithInterface(x.Name, want)
		case "network":
			p = p.WithNetwork(x.Name, want)
		case "cost":
			for _, c := range []client.Cost{client.CostFree, client.CostMetered, client.CostExpensive} {
				if c.String() == x.Name {
					p = p.WithCost(c, want)
				}
			}
		}
	}
	return p
}
