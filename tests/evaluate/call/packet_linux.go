package main

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// packetSize is 20 ms of G.711 with the header of RTP (RFC 3550).
const packetSize = 172

// kind says what a packet is for.
type kind byte

const (
	voice kind = iota + 1
	probe      // over a network that the call does not use, to know how it fares
)

// packet is what is sent. It also has what a report of RTCP would tell: what has come from
// the other end by the same way.
type packet struct {
	kind  kind
	voice uint32        // number of the voice packet in the call
	path  uint32        // number of the packet on this way, from 1
	sent  time.Duration // clock
	echo  time.Duration // sent of the latest packet that came by this way; 0: none
	held  time.Duration // how long ago that was
	most  uint32        // highest number that came by this way
	got   uint32        // how many came by this way
}

// clock is a time that all programs of this host share.
func clock() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // exists always
	return time.Duration(ts.Nano())
}

func (p *packet) encode() []byte {
	b := make([]byte, 0, packetSize)
	b = append(b, byte(p.kind))
	for _, n := range []uint32{p.voice, p.path, p.most, p.got} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, d := range []time.Duration{p.sent, p.echo, p.held} {
		b = binary.BigEndian.AppendUint64(b, uint64(d))
	}
	return b[:packetSize]
}

func decode(b []byte) (p packet, err error) {
	if len(b) != packetSize || kind(b[0]) != voice && kind(b[0]) != probe {
		return p, errors.New("no packet of a call")
	}
	p.kind = kind(b[0])
	for i, n := range []*uint32{&p.voice, &p.path, &p.most, &p.got} {
		*n = binary.BigEndian.Uint32(b[1+4*i:])
	}
	for i, d := range []*time.Duration{&p.sent, &p.echo, &p.held} {
		*d = time.Duration(binary.BigEndian.Uint64(b[17+8*i:]))
	}
	return p, nil
}

// way is what one end knows of a way to the other end.
type way struct {
	sent      uint32 // packets
	most, got uint32 // of those that came
	echo      time.Duration
	arrived   time.Duration

	// The fields below hold what the other end has told, and the round-trip times of
	// RFC 6298.
	theirMost, theirGot  uint32
	rtt, variation, best time.Duration
	measured             bool

	told told
}

// told are the counts as they were at the latest report.
type told struct{ most, got, theirMost, theirGot uint32 }

// stamp makes p the next packet on the way.
func (w *way) stamp(p *packet, now time.Duration) {
	w.sent++
	p.path, p.sent = w.sent, now
	p.most, p.got = w.most, w.got
	if p.echo = w.echo; p.echo > 0 {
		p.held = now - w.arrived
	}
}

// came notes a packet.
func (w *way) came(p *packet, now time.Duration) {
	w.got++
	w.most = max(w.most, p.path)
	w.echo, w.arrived = p.sent, now
	w.theirMost, w.theirGot = max(w.theirMost, p.most), max(w.theirGot, p.got)
	if p.echo == 0 {
		return
	}
	rtt := now - p.echo - p.held
	if !w.measured {
		w.rtt, w.variation, w.best, w.measured = rtt, rtt/2, rtt, true
		return
	}
	w.variation += (max(rtt-w.rtt, w.rtt-rtt) - w.variation) / 4
	w.rtt += (rtt - w.rtt) / 8
	w.best = min(w.best, rtt)
}

// since returns how many packets both ends have sent since the report before, as far as it
// is known what became of them, and how many of these are lost.
func (w *way) since() (sent, lost uint32) {
	now := told{w.most, w.got, w.theirMost, w.theirGot}
	sent = now.most - w.told.most + now.theirMost - w.told.theirMost
	came := now.got - w.told.got + now.theirGot - w.told.theirGot
	w.told = now
	if came > sent { // packets that were late are counted only now
		came = sent
	}
	return sent, sent - came
}
