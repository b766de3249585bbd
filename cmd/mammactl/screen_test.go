package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

func watched() *screen {
	a := &app{getenv: func(string) string { return "" }, location: time.UTC}
	s := &screen{a: a}
	for i := range 20 {
		p := all
		p.Prefixes = append([]control.Prefix{}, all.Prefixes...)
		p.Prefixes[0].Path.SRTTMedianMS = known(12.1 + float64(i%5))
		p.Prefixes[0].Link.Down = known(float64(i*i) * 1000)
		s.update(&status, &p)
	}
	for i := range decisions() {
		s.add(&control.Event{Type: control.EventDecision, Time: now, Decision: &decisions()[i]})
	}
	s.add(&control.Event{Type: control.EventPrefix, Time: now, Prefix: &control.PrefixChange{Change: "health", Prefix: wlan6}})
	return s
}

func TestScreen(t *testing.T) {
	for _, tt := range []struct {
		name          string
		width, height int
		keys          []string
	}{
		{name: "wide", width: 120, height: 20},
		{name: "40", width: 40, height: 20},
		{name: "80", width: 80, height: 24},
		{name: "132", width: 132, height: 20},
		{name: "explain", width: 120, height: 30, keys: []string{"k", "k", "k", "\r"}},
		{name: "typing", width: 80, height: 15, keys: []string{"/", "example.org"}},
		{name: "filter", width: 80, height: 15, keys: []string{"/", "example.orgx\x7f", "\r", "p"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := watched()
			for _, k := range tt.keys {
				s.press(k)
			}
			golden(t, "watch-"+tt.name, strings.Join(s.render(tt.width, tt.height), "\n")+"\n")
		})
	}
}

// The graphs begin with the measurements that the daemon remembers.
func TestScreenRecalls(t *testing.T) {
	var h control.History
	err := json.Unmarshal([]byte(`{"last":90,"prefixes":[
		{"prefix":"192.168.0.0/24","interface":"wlan0","first":88,"rtt_ms":[10,null,20],"down_bytes_per_second":[0,8,16],"up_bytes_per_second":[],"health":"uuu"},
		{"prefix":"192.0.2.0/24","interface":"gone0","gone":true,"first":1,"rtt_ms":[1],"down_bytes_per_second":[1],"up_bytes_per_second":[1],"health":"u"}]}`), &h)
	if err != nil {
		t.Fatal(err)
	}
	h.Prefixes[0].Down = append(slices.Repeat([]control.Sample{1}, 100), h.Prefixes[0].Down...)
	s := &screen{a: &app{getenv: func(string) string { return "" }, location: time.UTC}}
	s.recall(&h)
	s.update(&status, &control.Prefixes{Prefixes: []control.Prefix{wlan4, wwan}})
	past := s.past[key(&wlan4)]
	if len(s.past) != 2 || !slices.Equal(past.rtt, []float64{10, -1, 20, 12.1}) || len(past.down) != historyLen || past.down[historyLen-2] != 16 || len(past.up) != 1 {
		t.Errorf("%+v", past)
	}
}

// Lines fit the terminal, whatever its size.
func TestScreenFits(t *testing.T) {
	for _, detail := range []bool{false, true} {
		s := watched()
		if detail {
			s.press("\r")
		}
		for width := range 140 {
			for height := range 40 {
				lines := s.render(width, height)
				if len(lines) > height {
					t.Fatalf("%d lines of %d", len(lines), height)
				}
				for _, l := range lines {
					if n := table.Cells(l); n > width {
						t.Fatalf("%d by %d: %d characters: %q", width, height, n, l)
					}
				}
			}
		}
	}
}

func TestKeys(t *testing.T) {
	s := watched()
	if d := s.chosen(); d.Seq != 4 {
		t.Errorf("the latest decision is %d", d.Seq)
	}
	for _, step := range []struct {
		key string
		seq uint64
	}{{keyUp, 3}, {"k", 2}, {keyUpApp, 1}, {keyUp, 1}, {keyDown, 2}, {"j", 3}, {"\x1b[5~", 3}, {keyEscape, 0}} {
		if s.press(step.key); s.seq != step.seq {
			t.Errorf("after %q the decision chosen is %d, want %d", step.key, s.seq, step.seq)
		}
	}
	s.press("\r")
	s.add(&control.Event{Type: control.EventDecision, Time: now, Decision: &control.Decision{Seq: 5}})
	if !s.detail || s.chosen().Seq != 4 {
		t.Error("the explained decision changes when others come")
	}
	s.press("\r")
	if s.detail || s.seq != 0 {
		t.Error("enter does not end the explanation")
	}
	s.press("p")
	s.add(&control.Event{Type: control.EventDecision, Time: now, Decision: &control.Decision{Seq: 6}})
	if s.chosen().Seq != 5 {
		t.Error("the display changes while it is paused")
	}
	s.press("p")
	s.press("/xyz")
	s.press(keyEscape)
	if s.filter != "" || s.typing {
		t.Errorf("filter %q after escape", s.filter)
	}
	s.press("/q")
	if s.leaving {
		t.Error("a letter of the filter is taken for a key")
	}
	s.press(keySuspend)
	s.press(keyInterrupt)
	if !s.suspend || !s.leaving {
		t.Error("interrupt or stop do not work while typing")
	}
}

func TestScreenIsBounded(t *testing.T) {
	s := &screen{a: &app{getenv: func(string) string { return "" }, location: time.UTC}}
	for i := range 3 * maxLines {
		s.add(&control.Event{Type: control.EventDecision, Decision: &control.Decision{Seq: uint64(i)}})
		s.update(&status, &control.Prefixes{Prefixes: []control.Prefix{{Prefix: fmt.Sprint(i % 700)}, wwan}})
	}
	if len(s.lines) != maxLines || len(s.past) != 2 || len(s.past[key(&wwan)].rtt) != historyLen {
		t.Errorf("%d lines, %d histories", len(s.lines), len(s.past))
	}
}

func TestOutcomeReplacesDecision(t *testing.T) {
	s := watched()
	d := decisions()[0]
	d.Outcome = &control.Outcome{Candidate: 1, TookMS: 250}
	before := len(s.lines)
	s.add(&control.Event{Type: control.EventOutcome, Decision: &d})
	if len(s.lines) != before || !strings.HasSuffix(s.lines[0].text, "connect failed over from wwan0 to wlan0 after 250 ms") {
		t.Errorf("line %q", s.lines[0].text)
	}
}
