package testbed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// LinkConfig describes an emulated link.
type LinkConfig struct {
	Down, Up Shape  // to the client, and from it
	Seed     uint64 // for what is lost, and delayed, by chance
}

// Link is an emulated link between client and gateway: two TUN devices, with a relay in
// this process that shapes the packets. Its methods are safe for concurrent use.
// Neighbours on the link need no ARP, and it carries no multicast but that of its ends.
//
// On an idle machine a packet is delivered about 0.1 ms after its time, on a busy one
// later. The relay carries about 100 Mbit/s in full packets.
type Link struct {
	down, up *direction
}

// Set changes the shapes while the link runs. Packets that have left the queue are
// delivered as planned.
func (l *Link) Set(down, up Shape) error {
	if err := errors.Join(down.check(), up.check()); err != nil {
		return err
	}
	l.down.set(down)
	l.up.set(up)
	return nil
}

// Shapes returns the current shapes.
func (l *Link) Shapes() (down, up Shape) { return l.down.get(), l.up.get() }

// Counts returns how many packets have passed so far, to the client and from it.
func (l *Link) Counts() (down, up Counts) { return l.down.counted(), l.up.counted() }

// TracePoint is a change of a link, at a time after the start of a trace.
type TracePoint struct {
	At       time.Duration
	Down, Up Shape
}

// Play changes the link as the trace says. The points must be in order of time. Play
// returns when the last one is reached or ctx is done.
func (l *Link) Play(ctx context.Context, trace []TracePoint) error {
	start := time.Now()
	for _, p := range trace {
		timer := time.NewTimer(time.Until(start.Add(p.At)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if err := l.Set(p.Down, p.Up); err != nil {
			return fmt.Errorf("trace at %v: %w", p.At, err)
		}
	}
	return nil
}

// newLink makes an emulated link between n and its peer, and sets it up.
func newLink(config LinkConfig, n *Namespace, name string, mtu int, peer *Namespace, peerName string) (*Link, func(), error) {
	if err := errors.Join(config.Down.check(), config.Up.check()); err != nil {
		return nil, nil, err
	}
	near, err := n.tun(name, mtu)
	if err != nil {
		return nil, nil, err
	}
	far, err := peer.tun(peerName, mtu)
	if err != nil {
		_ = near.Close()
		return nil, nil, err
	}
	l := &Link{
		down: newDirection(config.Down, config.Seed, 0, far, near),
		up:   newDirection(config.Up, config.Seed, 1, near, far),
	}
	var wg sync.WaitGroup
	for _, d := range []*direction{l.down, l.up} {
		wg.Go(d.receive)
		wg.Go(d.send)
	}
	return l, func() {
		_, _ = near.Close(), far.Close()
		l.down.close()
		l.up.close()
		wg.Wait()
	}, nil
}

// tun makes a TUN device. The device exists as long as the file is open.
func (n *Namespace) tun(name string, mtu int) (*os.File, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, fmt.Errorf("interface name %q: %w", name, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	var file *os.File
	err = n.Do(func() error {
		// The device belongs to the namespace in which the file is opened.
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("%w: opening /dev/net/tun (needs CONFIG_TUN, and often root): %w", ErrUnavailable, err)
		}
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("TUNSETIFF: %w", err)
		}
		// This must come last, because the runtime's poller refuses a descriptor
		// without a device.
		file = os.NewFile(uintptr(fd), "tun "+name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("making TUN device %s in %s: %w", name, n.name, err)
	}
	link, err := n.handle.LinkByName(name)
	if err == nil {
		err = n.handle.LinkSetMTU(link, mtu)
	}
	if err == nil {
		err = n.handle.LinkSetUp(link)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("setting %s up in %s: %w", name, n.name, err)
	}
	return file, nil
}

// direction relays packets one way.
type direction struct {
	from, to *os.File

	mu      sync.Mutex
	arrived sync.Cond // signalled for a packet and at the end
	shaper  shaper
	closed  bool
}

func newDirection(shape Shape, seed, stream uint64, from, to *os.File) *direction {
	d := &direction{from: from, to: to, shaper: shaper{shape: shape, random: rand.New(rand.NewPCG(seed, stream))}}
	d.arrived.L = &d.mu
	return d
}

// receive takes packets from one device until the device is gone.
func (d *direction) receive() {
	buf := make([]byte, 1<<16)
	for {
		n, err := d.from.Read(buf)
		if err != nil {
			return
		}
		packet := append([]byte(nil), buf[:n]...)
		d.mu.Lock()
		d.shaper.arrive(time.Now(), packet)
		d.mu.Unlock()
		d.arrived.Signal()
	}
}

// nap is the longest time for which a change of the shape may go unnoticed.
const nap = 5 * time.Millisecond

// send passes packets to the other device when their time has come.
func (d *direction) send() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed {
		at, ok := d.shaper.next()
		if !ok {
			d.arrived.Wait()
			continue
		}
		now := time.Now()
		if wait := at.Sub(now); wait > 0 {
			d.mu.Unlock()
			// The runtime's timers have the resolution of its poller, 1 ms, which is
			// too coarse.
			ts := unix.NsecToTimespec(min(wait, nap).Nanoseconds())
			_ = unix.Nanosleep(&ts, nil) // if interrupted, the loop looks again
			d.mu.Lock()
			continue
		}
		if packet, _ := d.shaper.deliver(now); packet != nil {
			d.mu.Unlock()
			_, _ = d.to.Write(packet) // an error means that the device, and so the link, is down
			d.mu.Lock()
		}
	}
}

func (d *direction) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.arrived.Broadcast()
}

func (d *direction) set(shape Shape) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shaper.set(time.Now(), shape)
}

func (d *direction) get() Shape {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shaper.shape
}

func (d *direction) counted() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shaper.counts
}
