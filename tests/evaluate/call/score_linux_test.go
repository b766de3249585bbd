package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

// speech is a direction of a call with the same delay for all packets.
func speech(length, delay time.Duration) Heard {
	h := make(Heard, length/voiceEvery)
	for i := range h {
		h[i] = delay
	}
	return h
}

// Packets that are lost or late are not heard, and only full windows count.
func TestScore(t *testing.T) {
	const ms = time.Millisecond
	lossy := func(every int) Heard {
		h := speech(20*time.Second, 20*ms)
		for i := range h {
			if i%every == every-1 {
				h[i] = -1
			}
		}
		return h
	}
	late := speech(20*time.Second, 20*ms)
	for i := 40; i < len(late); i += 50 {
		late[i] = 500 * ms
	}
	dead := speech(10*time.Second, 20*ms)
	for i := 250; i < 500; i++ {
		dead[i] = -1
	}
	for _, tt := range []struct {
		name        string
		heard       Heard
		least, most float64 // MOS
		lost, late  float64
	}{
		{"a near and good network", speech(20*time.Second, 20*ms), 4.37, 4.40, 0, 0},
		{"a far one", speech(20*time.Second, 300*ms), 3.4, 3.8, 0, 0},
		{"one in ten is lost", lossy(10), 3.3, 3.4, 0.1, 0},
		{"one in two is lost", lossy(2), 1.5, 1.6, 0.5, 0},
		{"one in fifty comes too late", late, 3.9, 4.35, 0, 0.02},
		{"it dies in the middle", dead, 2.7, 2.8, 0.5, 0},
		{"no window is full", speech(4*time.Second, 20*ms), 0, 0, 0, 0},
		{"nothing", nil, 0, 0, 0, 0},
	} {
		s := scoreOf(tt.heard)
		if s.mos < tt.least || s.mos > tt.most || math.Abs(s.lost-tt.lost) > 1e-9 || math.Abs(s.late-tt.late) > 0.005 {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
	if s := scoreOf(dead); s.worst > 1.2 || len(s.each) != 2 || s.each[0] < 4.3 {
		t.Errorf("%+v", s)
	}
}

// The player waits longer where delays vary, but not for ever.
func TestPlayout(t *testing.T) {
	const ms = time.Millisecond
	h := speech(30*time.Second, 20*ms)
	for i := 500; i < 1000; i++ {
		h[i] = time.Duration(20+i%5*20) * ms
	}
	s := scoreOf(h)
	if s.late == 0 || s.late > 0.05 {
		t.Errorf("%v come too late", s.late)
	}
	if last := s.each[len(s.each)-1]; last < 4.3 || s.each[3] > 4.3 {
		t.Errorf("windows %v", s.each)
	}
}

func TestLosses(t *testing.T) {
	for _, tt := range []struct {
		missing      string
		share, burst float64
	}{
		{"", 0, 1},
		{"....", 0, 1},
		{"x...", 0.25, 1},
		{"xx......", 0.25, 1.5},
		{"xxxx", 1, 1},
		{"x.x.", 0.5, 1},
	} {
		var missing []bool
		for _, c := range tt.missing {
			missing = append(missing, c == 'x')
		}
		if share, burst := losses(missing); share != tt.share || burst != tt.burst {
			t.Errorf("%s: %v of packets, bursts %v", tt.missing, share, burst)
		}
	}
}

func TestPacket(t *testing.T) {
	want := packet{kind: probe, voice: 1, path: 2, sent: 3, echo: 4, held: 5, most: 6, got: 7}
	b := want.encode()
	if got, err := decode(b); err != nil || got != want || len(b) != packetSize {
		t.Errorf("%+v, %v", got, err)
	}
	other := slices.Clone(b)
	other[0] = 9
	for _, bad := range [][]byte{nil, b[1:], append(slices.Clone(b), 0), other} {
		if _, err := decode(bad); err == nil {
			t.Errorf("%x is taken", bad)
		}
	}
}

// Both ends of a way know how long packets take and how many are lost, in both directions.
func TestWay(t *testing.T) {
	const ms = time.Millisecond
	var near, far way
	now := time.Second
	exchange := func(lostThere, lostBack bool) {
		p := packet{kind: probe}
		near.stamp(&p, now)
		if !lostThere {
			far.came(&p, now+20*ms)
		}
		back := packet{kind: probe}
		far.stamp(&back, now+25*ms)
		if !lostBack {
			near.came(&back, now+45*ms)
		}
		now += 100 * ms
	}
	for range 10 {
		exchange(false, false)
	}
	if sent, lost := near.since(); sent != 20 || lost != 0 || near.rtt != 40*ms || near.best != 40*ms || near.variation > 2*ms {
		t.Errorf("%d sent, %d lost, %+v", sent, lost, near)
	}
	exchange(true, false)
	exchange(false, true)
	exchange(false, false)
	if sent, lost := near.since(); sent != 6 || lost != 2 {
		t.Errorf("%d sent, %d lost", sent, lost)
	}
	if sent, lost := near.since(); sent != 0 || lost != 0 {
		t.Errorf("%d sent, %d lost since", sent, lost)
	}
}

func TestWellEnough(t *testing.T) {
	for _, tt := range []struct {
		ours, one, two float64
		want           bool
	}{
		{4.1, 3.2, 4.1, true},
		{3.7, 3.2, 4.1, true},
		{3.5, 3.2, 4.1, false},  // far below the better one
		{3.2, 4.1, 3.2, false},  // it did not move
		{3.4, 3.3, 3.89, false}, // hardly above the worse one
		{3.5, 3.3, 3.89, true},
		{3.8, 3.8, 3.9, true}, // both are alike
		{math.NaN(), 3, 3, false},
	} {
		if got := wellEnough(tt.ours, tt.one, tt.two); got != tt.want {
			t.Errorf("%v beside %v and %v: %v", tt.ours, tt.one, tt.two, got)
		}
	}
}
