package main

import (
	"time"

	"github.com/socket-intents/mamma/internal/emodel"
)

const (
	// voiceEvery is the time between two packets, and so the speech that each has.
	voiceEvery = 20 * time.Millisecond
	// window is the part of a call that gets a score of its own.
	window = 5 * time.Second
	// adapt is how often what plays the speech sets its delay anew.
	adapt = time.Second
	// weight is that of a new packet in the estimates of delay and variation. So they
	// follow what has come in the last second.
	weight = 0.02
	// The player waits for a packet for the mean delay and this many mean deviations.
	// Ramjee et al., "Adaptive playout mechanisms for packetized audio applications in
	// wide-area networks" (Infocom 1994), algorithm 1.
	deviations = 4
)

// Heard is what came of one direction of a call: the delay of each packet in order of
// sending. A delay below zero is that of a lost packet.
type Heard []time.Duration

// score is how a direction of a call went.
type score struct {
	mos    float64   // mean of the windows
	worst  float64   // window
	lost   float64   // share of packets that never came
	late   float64   // share of packets that came too late to be played
	delays float64   // mean delay from mouth to ear, milliseconds
	each   []float64 // MOS of each window
}

// scoreOf judges a direction. The player adapts its delay once a second, and at once to
// a packet that comes later. Such a packet is not heard.
func scoreOf(h Heard) score {
	var s score
	perWindow, perAdapt := int(window/voiceEvery), int(adapt/voiceEvery)
	var p playout
	s.worst = 5
	lost, late, delays, windows := 0, 0, 0.0, 0
	for begin := 0; begin+perWindow <= len(h); begin += perWindow {
		part := h[begin : begin+perWindow]
		missing := make([]bool, len(part))
		wait := time.Duration(0)
		for i, d := range part {
			if i%perAdapt == 0 {
				p.set(part[i:min(i+perAdapt, len(part))])
			}
			wait += p.wait
			switch {
			case d < 0:
				missing[i] = true
				lost++
			case d > p.wait:
				missing[i] = true
				late++
				p.stretch(d)
			}
			if d >= 0 {
				p.learn(d)
			}
		}
		delay := voiceEvery + wait/time.Duration(len(part)) // speech is recorded before it is sent
		share, burst := losses(missing)
		m := emodel.MOS(emodel.Rating(delay, share, burst))
		s.each = append(s.each, m)
		s.mos += m
		s.worst = min(s.worst, m)
		delays += delay.Seconds() * 1000
		windows++
	}
	if windows == 0 {
		return score{}
	}
	all := float64(windows * perWindow)
	s.mos, s.delays = s.mos/float64(windows), delays/float64(windows)
	s.lost, s.late = float64(lost)/all, float64(late)/all
	return s
}

// playout is what plays the speech: it waits for a time after each packet was sent.
type playout struct {
	mean, deviation time.Duration
	wait            time.Duration
	begun           bool
}

// set chooses a new wait from the delays that are known. At the beginning these are the
// first ones, as if some words had been said before.
func (p *playout) set(next Heard) {
	for _, d := range next {
		if p.begun {
			break
		}
		if d >= 0 {
			p.mean, p.begun = d, true
		}
	}
	p.wait = p.mean + deviations*p.deviation
}

// stretch adapts to a packet that was late with a delay of d. What is played in its place takes
// as long as a packet, so what follows may come later by that much. NetEQ of WebRTC does this.
func (p *playout) stretch(d time.Duration) { p.wait = min(d, p.wait+voiceEvery) }

func (p *playout) learn(d time.Duration) {
	p.mean += time.Duration(weight * float64(d-p.mean))
	p.deviation += time.Duration(weight * float64(max(d-p.mean, p.mean-d)-p.deviation))
}

// losses returns the share of packets that are missing, and how much longer their bursts
// are than they would be by chance (BurstR of ITU-T G.107).
func losses(missing []bool) (share, burst float64) {
	n, bursts := 0, 0
	for i, m := range missing {
		if m {
			n++
			if i == 0 || !missing[i-1] {
				bursts++
			}
		}
	}
	if n == 0 || len(missing) == 0 {
		return 0, 1
	}
	share = float64(n) / float64(len(missing))
	return share, max(1, float64(n)/float64(bursts)*(1-share))
}
