package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

const (
	// probeEvery is the time between two packets over a network that the call does not use.
	probeEvery = 100 * time.Millisecond
	// reportEvery is how often the manager is told how the networks fare.
	reportEvery = time.Second
	// settled is how long another network must have been better before the call moves.
	settled = time.Second
	// stay is how long a call stays where it has moved to, unless that network is down. So it
	// does not move to and fro between networks that are alike.
	stay = 4 * time.Second
)

// Call is what a caller is to do.
type Call struct {
	Peer    netip.AddrPort
	Packets int
	Socket  string // of the daemon; "": nobody is asked
	Source  netip.Addr
}

// Called is what came of it.
type Called struct {
	Heard Heard // of the peer
	Moves []string
}

// leg is a socket of the caller on one of the networks.
type leg struct {
	pc   *client.PacketConn
	name string
	way  way
}

// caller is the person who calls.
type caller struct {
	job   Call
	begun time.Time

	mu    sync.Mutex
	legs  []*leg
	now   *leg // that has the voice
	heard Heard
	moves []string
}

// call calls.
func call(job Call) (Called, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &caller{job: job, begun: time.Now()}
	end, err := c.open(ctx)
	if err != nil {
		return Called{}, err
	}
	var wg sync.WaitGroup
	for _, l := range c.legs {
		wg.Go(func() { c.hear(l) })
	}
	if job.Socket != "" {
		wg.Go(func() { c.follow(ctx) })
		wg.Go(func() { c.probe(ctx) })
		wg.Go(func() { c.report(ctx) })
	}
	ticks(ctx, job.Packets, voiceEvery, c.speak)
	time.Sleep(voiceEvery) // the peer began later
	cancel()
	err = end()
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Called{c.heard.upTo(job.Packets), c.moves}, err
}

// open opens a socket on the network that the manager chooses, and one on each other
// network that the call may use; or a plain one on a given network.
func (c *caller) open(ctx context.Context) (end func() error, err error) {
	d := &client.Dialer{Intents: intent.Set{}.WithCategory(intent.CategoryStream).WithBitrateBitsPerSecond(80_000)}
	hangUp := func() error {
		var errs []error
		for _, l := range c.legs {
			errs = append(errs, l.pc.Close())
		}
		return errors.Join(append(errs, d.Close())...)
	}
	defer func() {
		if err != nil {
			_ = hangUp() // the first error counts
		}
	}()
	if c.job.Socket == "" {
		// The daemon is not asked: the address says which network it is.
		d.Daemon = &client.Daemon{DecisionTimeout: -1}
		d.Net.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.job.Source, 0))
		return hangUp, c.add(ctx, d, client.SelectionProperties{})
	}
	d.Daemon = &client.Daemon{Path: c.job.Socket}
	if err := c.add(ctx, d, client.SelectionProperties{}); err != nil {
		return nil, err
	}
	networks, err := d.Networks(ctx, "udp4")
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		if n.Usable && n.Interface != c.now.name {
			if err := c.add(ctx, d, client.SelectionProperties{}.WithInterface(n.Interface, client.Require)); err != nil {
				return nil, err
			}
		}
	}
	return hangUp, nil
}

func (c *caller) add(ctx context.Context, d *client.Dialer, s client.SelectionProperties) error {
	pc, err := d.ListenPacket(client.WithSelection(ctx, s), "udp4", c.job.Peer.String())
	if err != nil {
		return err
	}
	pc.SetSelection(client.SelectionProperties{})
	c.legs = append(c.legs, &leg{pc: pc, name: pc.Interface()})
	c.now = c.legs[0]
	return nil
}

// hear takes what comes over a network until its socket is closed.
func (c *caller) hear(l *leg) {
	b := make([]byte, 2*packetSize)
	for {
		n, _, err := l.pc.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p, err := decode(b[:n])
		if err != nil {
			continue
		}
		now := clock()
		c.mu.Lock()
		l.way.came(&p, now)
		if p.kind == voice {
			c.heard.note(&p, now)
		}
		c.mu.Unlock()
	}
}

func (c *caller) speak(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendLocked(c.now, packet{kind: voice, voice: uint32(i)})
}

func (c *caller) sendLocked(l *leg, p packet) {
	l.way.stamp(&p, clock())
	_, _ = l.pc.WriteToUDPAddrPort(p.encode(), c.job.Peer) // what is not sent is lost
}

// probe finds out how the other networks fare.
func (c *caller) probe(ctx context.Context) {
	ticks(ctx, maxVoice, probeEvery, func(int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, l := range c.legs {
			if l != c.now {
				c.sendLocked(l, packet{kind: probe})
			}
		}
	})
}

// report tells the manager.
func (c *caller) report(ctx context.Context) {
	ticks(ctx, maxVoice, reportEvery, func(int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, l := range c.legs {
			if !l.way.measured {
				continue
			}
			f := client.Flow{RTT: l.way.rtt, MinRTT: l.way.best, RTTVar: l.way.variation}
			if f.Sent, f.Lost = l.way.since(); f.Sent > 0 {
				l.pc.Report(c.job.Peer, f)
			}
		}
	})
}

// follow moves the call to the network that the manager finds better, once that has lasted
// for a while, or at once if the present one is down.
func (c *caller) follow(ctx context.Context) {
	var due <-chan time.Time
	var free time.Time // when the call may move again
	better := ""
	for {
		c.mu.Lock()
		l := c.now
		c.mu.Unlock()
		select {
		case p, ok := <-l.pc.Changes():
			switch {
			case !ok:
				return
			case !p.Better:
				due, better = nil, ""
			case p.State == client.NetworkDown:
				c.move(p.Best.Interface, "down")
				due, better = nil, ""
			case p.Best.Interface != better:
				due, better = time.After(max(settled, time.Until(free))), p.Best.Interface
			}
		case <-due:
			c.move(better, "another network is better")
			due, better, free = nil, "", time.Now().Add(stay)
		case <-ctx.Done():
			return
		}
	}
}

func (c *caller) move(to, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.legs {
		if l.name == to && l != c.now {
			c.moves = append(c.moves, fmt.Sprintf("%.1f s: %s to %s, %s", time.Since(c.begun).Seconds(), c.now.name, to, why))
			c.now = l
		}
	}
}
