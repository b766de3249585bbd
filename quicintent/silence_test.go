package quicintent

import (
	"testing"
	"time"
)

// This is when silence is a reason to doubt. Steps are milliseconds after the start:
// "r" means that a packet comes, "s" that one is sent.
func TestSilence(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		kind byte
		at   int
	}
	steady := func(n, gap int) (steps []step) {
		for i := range n {
			steps = append(steps, step{'r', i * gap}, step{'s', i*gap + 1})
		}
		return steps
	}
	shifted := func(steps []step, by int) []step {
		for i := range steps {
			steps[i].at += by
		}
		return steps
	}
	for _, tt := range []struct {
		name    string
		steps   []step
		rtt     time.Duration
		at      int // 0: never
		certain bool
		queue   bool // round-trip times are long as a queue is full, but hardly vary
	}{
		{"nothing was sent", []step{{'r', 10}}, 20 * ms, 0, false, false},
		{"acknowledgements ask for nothing", []step{{'r', 10}, {'s', 12}, {'s', 34}}, 20 * ms, 0, false, false},
		{"a question of an idle connection", []step{{'r', 10}, {'s', 100}}, 20 * ms, 165, true, false},
		{"asked again", []step{{'r', 10}, {'s', 100}, {'s', 150}}, 20 * ms, 165, true, false},
		{"a short round trip", []step{{'r', 10}, {'s', 100}}, 1 * ms, 160, true, false},
		{"a long round trip", []step{{'r', 10}, {'s', 100}}, 300 * ms, 725, true, false},
		{"unknown round trip", []step{{'s', 100}}, 0, 100 + 2*333 + 25, true, false},
		{"answered", []step{{'r', 10}, {'s', 100}, {'r', 120}}, 20 * ms, 0, false, false},
		{"a few packets", steady(7, 5), 20 * ms, 0, false, false},
		{"a steady flow stops", steady(20, 5), 20 * ms, 95 + 150, false, false},
		{"an uneven flow stops", steady(20, 60), 20 * ms, 19*60 + 240, false, false},
		{"a flow through a full queue stops", steady(20, 5), 120 * ms, 95 + 120 + 8 + 25, false, true},
		{"a long gap was long ago", append(steady(20, 60), shifted(steady(500, 5), 1200)...), 20 * ms, 1200 + 499*5 + 150, false, false},
		{"a long gap was lately", append(steady(20, 60), shifted(steady(20, 5), 1200)...), 20 * ms, 1200 + 19*5 + 240, false, false},
		{"packets far apart", steady(20, 101), 20 * ms, 0, false, false},
		{"a flow stops, and a question is not answered", append(steady(20, 5), step{'s', 140}), 20 * ms, 205, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begun := time.Now()
			s := newSilence(begun)
			now := begun
			for _, st := range tt.steps {
				now = begun.Add(time.Duration(st.at) * ms)
				if st.kind == 'r' {
					s.received(now)
				} else {
					s.sent(now)
				}
			}
			rt := firstRoundTrip(tt.rtt)
			if tt.queue {
				rt.deviation = 2 * ms
			}
			d := s.doubt(now, rt)
			at := 0
			if !d.at.IsZero() {
				at = int(d.at.Sub(begun) / ms)
			}
			if at != tt.at || d.certain != tt.certain {
				t.Errorf("in doubt at %d ms (certain %v), want %d (%v)", at, d.certain, tt.at, tt.certain)
			}
			if tt.at > 0 && len(s.wake) == 0 {
				t.Error("nobody is told to look")
			}
			s.forgive()
			if d := s.doubt(now, rt); !d.certain && !d.at.IsZero() {
				t.Errorf("forgiven, and in doubt at %v", d.at.Sub(begun))
			}
		})
	}
}

// The time in which data came counts neither the handshake nor the probe before, nor long
// gaps.
func TestBusy(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		begun int   // ms
		reads []int // ms
		want  time.Duration
	}{
		{"handshake only", 50, []int{20, 50}, 0},
		{"data after the handshake", 50, []int{20, 50, 60, 75}, 25 * ms},
		{"the handshake is over between two reads", 50, []int{20, 40, 60, 75}, 25 * ms},
		{"a long gap", 50, []int{50, 60, 1060, 1070}, 20 * ms},
	} {
		start := time.Now()
		s, begun := newSilence(start), false
		for _, at := range tt.reads {
			if !begun && at > tt.begun {
				s.begin(start.Add(time.Duration(tt.begun) * ms))
				begun = true
			}
			s.received(start.Add(time.Duration(at) * ms))
		}
		if !begun {
			if got := s.busyFor(); got != 0 { // as in a report that is made during a handshake with 0-RTT
				t.Errorf("%s: %v before it is over", tt.name, got)
			}
			s.begin(start.Add(time.Duration(tt.begun) * ms))
		}
		if got := s.busyFor(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMoveString(t *testing.T) {
	m := Move{From: "wlan0", To: "wwan0", Reason: "silent for 160ms", Duration: 25 * time.Millisecond}
	if s := m.String(); s != "moved from wlan0 to wwan0 after 25ms (silent for 160ms)" {
		t.Errorf("%q", s)
	}
	m.Err = errNone
	if s := m.String(); s != "still on wlan0 (silent for 160ms): there is none but the present one" {
		t.Errorf("%q", s)
	}
}
