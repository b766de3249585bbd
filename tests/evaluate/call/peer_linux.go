package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// peer is the person who is called. Its voice goes to where the latest voice came from, as
// that of a telephone behind a translator of addresses does.
type peer struct {
	pc net.PacketConn

	mu     sync.Mutex
	ways   map[netip.AddrPort]*way
	to     netip.AddrPort
	newest uint32 // voice packet
	heard  Heard
	called chan struct{} // closed when the first voice comes
}

// maxVoice bounds a call: half an hour.
const maxVoice = 90_000

func newPeer(pc net.PacketConn) *peer {
	return &peer{pc: pc, ways: map[netip.AddrPort]*way{}, called: make(chan struct{})}
}

// run answers probes and hears until the socket is closed.
func (p *peer) run() {
	b := make([]byte, 2*packetSize)
	for {
		n, from, err := p.pc.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if got, err := decode(b[:n]); err == nil {
			p.came(&got, from.(*net.UDPAddr).AddrPort())
		}
	}
}

func (p *peer) came(got *packet, from netip.AddrPort) {
	now := clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.ways[from]
	if w == nil {
		w = &way{}
		p.ways[from] = w
	}
	w.came(got, now)
	if got.kind == probe {
		p.sendLocked(from, packet{kind: probe})
		return
	}
	if !p.to.IsValid() {
		close(p.called)
	}
	if got.voice >= p.newest {
		p.newest, p.to = got.voice, from
	}
	p.heard.note(got, now)
}

// talk sends voice from when somebody calls until ctx ends, or until all is said.
func (p *peer) talk(ctx context.Context, count int) {
	select {
	case <-p.called:
	case <-ctx.Done():
		return
	}
	ticks(ctx, count, voiceEvery, func(i int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.to.IsValid() {
			p.sendLocked(p.to, packet{kind: voice, voice: uint32(i)})
		}
	})
}

func (p *peer) sendLocked(to netip.AddrPort, m packet) {
	p.ways[to].stamp(&m, clock())
	_, _ = p.pc.WriteTo(m.encode(), net.UDPAddrFromAddrPort(to)) // what is not sent is lost
}

// result is what was heard of so many packets.
func (p *peer) result(count int) Heard {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard.upTo(count)
}

// note notes the delay of a voice packet.
func (h *Heard) note(p *packet, now time.Duration) {
	if p.voice >= maxVoice {
		return
	}
	for len(*h) <= int(p.voice) {
		*h = append(*h, -1)
	}
	if (*h)[p.voice] < 0 {
		(*h)[p.voice] = max(0, now-p.sent)
	}
}

// upTo returns what was heard of so many packets. Those at the end may be missing.
func (h Heard) upTo(count int) Heard {
	for len(h) < count {
		h = append(h, -1)
	}
	return h[:count]
}

// ticks calls f at each interval, without drifting, count times or until ctx ends.
func ticks(ctx context.Context, count int, every time.Duration, f func(i int)) {
	begun := time.Now()
	t := time.NewTimer(0)
	defer t.Stop()
	for i := range count {
		t.Reset(time.Until(begun.Add(time.Duration(i) * every)))
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		f(i)
	}
}
